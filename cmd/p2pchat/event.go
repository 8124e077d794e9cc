package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

// recent is among how many of a group's newest lines a short id is looked for first: far
// more than anybody reads on a screen.
const recent = 5000

// checkEventID refuses what is no id of an event, short or whole.
func checkEventID(cmd *cobra.Command, ref, where string) error {
	const least = len(protocol.EventPrefix) + protocol.ShortLen
	if !strings.HasPrefix(ref, protocol.EventPrefix) || len(ref) < least {
		return usagef(cmd, "%q is no ID: one begins with evt_ and 8 letters; %s prints them", ref, where)
	}
	return nil
}

// pickEvent returns the one of the ids that a short or whole one stands for. A whole
// one stands for itself, listed or not.
func pickEvent(ids []string, ref, see string) (string, error) {
	if _, err := protocol.ParseID(protocol.EventPrefix, ref); err == nil {
		return ref, nil
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, ref) })
	switch len(ids) {
	case 0:
		return "", &nextError{fmt.Errorf("nothing there has the id %s…", ref), see}
	case 1:
		return ids[0], nil
	}
	return "", &nextError{fmt.Errorf("more than one has the id %s…", ref), see + " --json, and use the whole id"}
}

// message finds the message that an id means. One that is whole and not among the recent
// lines has no more than its id.
func message(ctx context.Context, c *local.Client, g local.Group, ref string) (local.Message, error) {
	lines, _, err := c.Last(ctx, g.ID, recent)
	if _, short := protocol.ParseID(protocol.EventPrefix, ref); err == nil && short != nil && len(lines) >= recent &&
		!slices.ContainsFunc(lines, func(m local.Message) bool { return strings.HasPrefix(m.ID, ref) }) {
		lines, _, err = c.Last(ctx, g.ID, 0) // log prints ids of any age
	}
	if err != nil {
		return local.Message{}, err
	}
	lines = slices.DeleteFunc(lines, local.Message.System)
	var ids []string
	for _, m := range lines {
		ids = append(ids, m.ID)
	}
	id, err := pickEvent(ids, ref, "p2pchat log "+typed(ctx, c, g)+" --ids")
	if err != nil {
		return local.Message{}, err
	}
	if i := slices.IndexFunc(lines, func(m local.Message) bool { return m.ID == id }); i >= 0 {
		return lines[i], nil
	}
	return local.Message{ID: id}, nil
}
