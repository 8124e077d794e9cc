package main

import (
	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/demo"
)

func newDemo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Watch three people chat on this machine",
		Long: `Demo runs three nodes with profiles of their own in a temporary folder and lets them talk
over loopback. One goes away and comes back. It uses no profile and leaves nothing.`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json {
				return usagef(cmd, "demo has no --json: it is a story to read")
			}
			return demo.Run(cmd.Context(), a.stdout)
		},
	}
}
