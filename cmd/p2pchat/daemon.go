package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
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

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say how the profile's node is doing",
		Args:  args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), "status", false, func(c *local.Client) error {
				s, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				text := statusText(s, c.Holds())
				for _, g := range s.Groups {
					if news := waiting(cmd.Context(), c, g.Group).text(typed(cmd.Context(), c, g.Group)); news != "" {
						text += "\n  " + news
					}
				}
				return a.print(s, "%s", text)
			})
		},
	}
}

func statusText(s local.Status, self bool) string {
	holder := fmt.Sprintf("`p2pchat %s` (pid %d)", s.Holder.Verb, s.Holder.PID)
	if self {
		holder = "nobody; p2pchat daemon keeps the profile online"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "peer    %s\nheld by %s\nlisten  %s\nmdns    %s\ndht     %s\npeers   %d",
		s.PeerID, holder, strings.Join(s.Listen, "\n        "), s.MDNS, s.DHT, s.Peers)
	for _, g := range s.Groups {
		fmt.Fprintf(&b, "\n%s: members %s; events %d, waiting %d; %s",
			cleanName(g.Name), attendance(g.Group, s.Holder), g.Events, g.Parked, synced(g.LastSync))
		if out := outside(g.Group); out != "" {
			fmt.Fprintf(&b, "\n  %s", out)
		}
		if g.Retention > 0 {
			fmt.Fprintf(&b, "\n  %s", retained(g.Retention))
		}
		if g.Kept.Limit > 0 {
			fmt.Fprintf(&b, "\n  %s", keptText(g.Kept))
		}
		for _, m := range g.Doubts {
			fmt.Fprintf(&b, "\n  %s: %s", tagged(m.Person), doubt(m))
		}
		for _, p := range g.Forks {
			fmt.Fprintf(&b, "\n  forked: a device of %s signed two events for one place; it was copied, or lies",
				cleanName(cmp.Or(p.Name, p.Key)))
		}
		if g.Renewed {
			fmt.Fprint(&b, "\n  this is another device of yours than it was: the profile was copied, or its store put back; see p2pchat device list")
		}
	}
	return b.String()
}

// outside says why nothing new of a group comes any more.
func outside(g local.Group) string {
	switch {
	case g.Revoked:
		return "this device was revoked: it gets nothing new; if that was not you, somebody has your words: p2pchat device list all"
	case g.Left:
		return "you left: nothing new comes"
	case g.Role == protocol.NoRank.String():
		return "you are not a member any more: nothing new comes; p2pchat log says why"
	}
	return ""
}

func synced(at *time.Time) string {
	if at == nil {
		return "not compared with a member yet"
	}
	return "complete as of " + at.Local().Format("2 January 15:04:05")
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
