package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// tagged is a person with the tag of their key, which nobody can choose.
func tagged(p local.Person) string {
	name, tag := cleanName(p.Name), protocol.Short(p.Key)
	if name == "" {
		return tag
	}
	return name + " (" + tag + ")"
}

// leastKey is how much of a key the node takes for a person, too.
const leastKey = len(protocol.PersonPrefix) + 4

// isPerson says whether somebody is who a name or a usr_ key that was typed means.
func isPerson(p local.Person, who string) bool {
	if strings.HasPrefix(who, protocol.PersonPrefix) {
		return len(who) >= leastKey && strings.HasPrefix(p.Key, who)
	}
	return p.Name == who
}

// pickPerson finds the one of a list whom somebody means; nobody is no error here.
func pickPerson(list []local.Person, who string) (local.Person, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(p local.Person) bool { return !isPerson(p, who) })
	list = slices.CompactFunc(list, func(p, q local.Person) bool { return p.Key == q.Key })
	switch len(list) {
	case 0:
		return local.Person{}, nil
	case 1:
		return list[0], nil
	}
	return local.Person{}, fmt.Errorf("%w: %q is %s and %s", node.ErrAmbiguous, who,
		protocol.Short(list[0].Key), protocol.Short(list[1].Key))
}

// person finds who is meant among the members of a group, or else among who was one,
// so that somebody can be asked about them. Who is in neither is for the node to say.
func person(ctx context.Context, c *local.Client, g local.Group, who string) (local.Person, error) {
	for _, lists := range []func(context.Context, string) ([]local.Member, error){c.Members, c.Former} {
		members, err := lists(ctx, g.ID)
		if err != nil {
			return local.Person{}, err
		}
		var list []local.Person
		for _, m := range members {
			list = append(list, m.Person)
		}
		if p, err := pickPerson(list, who); err != nil || p.Key != "" {
			return p, err
		}
	}
	return local.Person{Key: who}, nil
}

// explain names the group in what to type after an error.
func explain(ctx context.Context, c *local.Client, g local.Group, err error) error {
	var next *nextError
	if err == nil || errors.As(err, &next) {
		return err
	}
	name := typed(ctx, c, g)
	see := "p2pchat members " + name
	switch {
	case errors.Is(err, node.ErrAmbiguous):
		see += ", and use the usr_ key"
	case errors.Is(err, node.ErrNotAllowed):
		see += ", to see who may"
	case errors.Is(err, node.ErrNothing):
		see = "p2pchat audit " + name
	case errors.Is(err, node.ErrUnknownInvite):
		see = "p2pchat invite list " + name
	case errors.Is(err, node.ErrUnknownMessage):
		see = "p2pchat log " + name + " --ids"
	case errors.Is(err, local.ErrInterrupted):
		see = "p2pchat log " + name + " -n 5, to see whether it was done"
	case errors.Is(err, node.ErrUnknownName):
	default:
		return err
	}
	return &nextError{err, see}
}
