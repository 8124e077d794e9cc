package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

func newRequest(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "request",
		Short: "Answer who asks to be let in",
		Long: `Who comes with an invitation that says so (invite create --approve), or to a group that
admits so (group set admission=approve), waits until a person who may admit says yes.
They ask the members that they reach; each of these answers for itself.`,
	}
	cmd.AddCommand(newRequestList(a), newRequestApprove(a), newRequestDeny(a))
	return cmd
}

func newRequestList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list GROUP",
		Short: "List who waits to be let in",
		Long: `List prints who asked this device to be let in. A name is what they claim; KEY is what
they will have as a member. ANSWER is theirs to the invitation's question.`,
		Example: "  p2pchat request list \"Hiking club\"\n  p2pchat request approve \"Hiking club\" Bo",
		Args:    args(1, 1, "GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.inGroup(ctx, "request list", args[0], func(c *local.Client, g local.Group) error {
				return a.listRequests(ctx, c, g)
			})
		},
	}
}

func (a *app) listRequests(ctx context.Context, c *local.Client, g local.Group) error {
	requests, err := c.Requests(ctx, g.ID)
	if err != nil {
		return err
	}
	if len(requests) == 0 {
		a.note("nobody asked this device to be let in")
		return nil
	}
	return printList(a, requests, "NAME\tKEY\tROLE\tASKED\tSTATE\tANSWER\t", func(r local.Request) []string {
		return []string{
			cleanName(r.Name), protocol.Short(r.Key), r.Role, r.Asked.Local().Format("2006-01-02 15:04"), r.State,
			answerText(r), yes(r.BannedBefore, "banned: unban first"),
		}
	})
}

// answerText is what somebody answered to an invitation's question.
func answerText(r local.Request) string {
	if r.Question == "" {
		return ""
	}
	return strconv.Quote(cleanName(r.Question)) + ": " + strconv.Quote(cleanName(r.Answer))
}

// asker finds who of those that asked is meant; whom nobody knows the node names.
func asker(ctx context.Context, c *local.Client, g local.Group, who string) (local.Person, error) {
	requests, err := c.Requests(ctx, g.ID)
	if err != nil {
		return local.Person{}, err
	}
	var list []local.Person
	for _, r := range requests {
		list = append(list, r.Person)
	}
	p, err := pickPerson(list, who)
	switch {
	case err != nil:
		return p, &nextError{err, "p2pchat request list " + typed(ctx, c, g) + ", and use the usr_ key"}
	case p.Key == "":
		p.Key = who
	}
	return p, nil
}

// unasked says where those stand who did ask, if nobody of that name did: they are no
// members yet.
func unasked(ctx context.Context, c *local.Client, g local.Group, err error) error {
	if errors.Is(err, node.ErrUnknownName) {
		return &nextError{err, "p2pchat request list " + typed(ctx, c, g)}
	}
	return err
}

func newRequestApprove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "approve GROUP NAME",
		Short:   "Let somebody in who asked",
		Long:    "Approve says yes to somebody who asked to be let in. It needs the role greeter.",
		Example: "  p2pchat request approve \"Hiking club\" Bo",
		Args:    names("GROUP", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.inGroup(ctx, "request approve", args[0], func(c *local.Client, g local.Group) error {
				p, err := asker(ctx, c, g, args[1])
				if err != nil {
					return err
				}
				return unasked(ctx, c, g, a.do(ctx, c, g, "request/approve", local.Deed{Who: p.Key}))
			})
		},
	}
}

// denied is what request deny prints.
type denied struct {
	local.Person
	State string `json:"state"`
}

func newRequestDeny(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "deny GROUP NAME",
		Short:   "Say no to somebody who asked",
		Long:    "Deny says no to somebody who asked to be let in. Other members answer for themselves.",
		Example: "  p2pchat request deny \"Hiking club\" usr_abcdefgh",
		Args:    names("GROUP", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.inGroup(ctx, "request deny", args[0], func(c *local.Client, g local.Group) error {
				p, err := asker(ctx, c, g, args[1])
				if err != nil {
					return err
				}
				if err := c.Deny(ctx, g.ID, p.Key); err != nil {
					return unasked(ctx, c, g, err)
				}
				return a.print(denied{p, "denied"}, "denied %s", tagged(p))
			})
		},
	}
}
