package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
)

func newDaemon(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "daemon",
		Short: "Keep the profile online",
		Long: `Daemon keeps the profile online until it is told to end, and prints ready once other
commands can use it. A chat that is open does the same while it lasts.`,
		Example: "  p2pchat daemon\n  nohup p2pchat daemon > /dev/null 2>&1 &    # until kill, or the end of the session",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.with(ctx, "daemon", true, func(c *local.Client) error {
				h, err := c.Holder(ctx)
				if err != nil {
					return err
				}
				if !c.Holds() && h.Lasting {
					return &nextError{
						err:  fmt.Errorf("`p2pchat %s` (pid %d) already serves this profile, and commands use it", h.Verb, h.PID),
						next: "p2pchat status",
					}
				}
				if err := c.Hold(ctx); err != nil { // a short command may be on its way out
					return err
				}
				if err := a.print(map[string]string{"state": "ready"}, "ready"); err != nil {
					return err
				}
				<-ctx.Done() // being told to end is how it ends well
				return nil
			})
		},
	}
}

// version is what version prints.
type version struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			v := version{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
				v.Version = info.Main.Version
			}
			return a.print(v, "p2pchat %s %s %s", v.Version, v.Go, v.Platform)
		},
	}
}
