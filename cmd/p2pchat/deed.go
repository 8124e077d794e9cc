package main

import (
	"context"
	"strings"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/local"
	"github.com/p2pchat/p2pchat/protocol"
)

// deed runs a command that does one thing to a group: path is what the API calls it.
func (a *app) deed(ctx context.Context, verb, path string, in local.Deed) error {
	return a.inGroup(ctx, verb, in.Group, func(c *local.Client, g local.Group) error {
		return notMe(ctx, c, g, in.Who, a.do(ctx, c, g, path, in))
	})
}

// inGroup runs a command about a group. Its errors say where to look in the group.
func (a *app) inGroup(ctx context.Context, verb, group string, f func(*local.Client, local.Group) error) error {
	return a.with(ctx, verb, false, func(c *local.Client) error {
		g, err := c.Group(ctx, group)
		if err != nil {
			return err
		}
		return explain(ctx, c, g, f(c, g))
	})
}

// do does what is asked for, says so, and lets others learn of it.
func (a *app) do(ctx context.Context, c *local.Client, g local.Group, path string, in local.Deed) error {
	if err := checkUTF8(in.Reason); err != nil {
		return err
	}
	in.Group = g.ID
	act, err := c.Do(ctx, path, in)
	if err != nil {
		return err
	}
	if err := a.print(act, "%s", done(act)); err != nil {
		return err
	}
	a.passOn(ctx, c, g)
	return nil
}

// done says to who did it what was done.
func done(act local.Act) string {
	text := what(act, tagged)
	if reason := reasonOf(act); reason != "" {
		text += ": " + reason
	}
	return text
}

// passOn gives an act a chance to reach somebody, and says if it did not.
func (a *app) passOn(ctx context.Context, c *local.Client, g local.Group) {
	now, err := c.Group(ctx, g.ID)
	if err != nil || now.Members == 0 || now.Members == 1 && now.Role != protocol.NoRank.String() {
		return // there is nobody else
	}
	if !a.reaches(ctx, c, g.ID) {
		a.note("stored; the others learn of it when you and one of them are online")
	}
}

// reaches says whether what was stored last reaches a member now.
func (a *app) reaches(ctx context.Context, c *local.Client, group string) bool {
	h, err := c.Holder(ctx)
	if err != nil {
		return true // it is stored; whether it reached anybody is not known
	}
	if h.Lasting {
		g, err := c.Group(ctx, group)
		return err != nil || g.Online > 0
	}
	w, err := c.Wait(ctx, group, true, handOverTime)
	return err != nil || w.Peers > 0
}

// what is an act in words, without who did it: "banned Bo". Names come from who.
func what(act local.Act, who func(local.Person) string) string {
	whom := ""
	if act.Target != nil {
		whom = who(*act.Target)
	}
	switch act.Kind {
	case "genesis":
		return "created the group"
	case "grant":
		if act.Admits {
			return "let in " + whom + " as " + article(act.Role)
		}
		return "made " + whom + " " + article(act.Role)
	case "remove":
		return "removed " + whom
	case "ban":
		return "banned " + whom
	case "unban":
		return "unbanned " + whom
	case "mute":
		return "muted " + whom
	case "unmute":
		return "unmuted " + whom
	case "leave":
		return "left"
	}
	return whatElse(act, whom)
}

// whatElse is what for acts that take nobody's place.
func whatElse(act local.Act, whom string) string {
	of := ""
	if whom != "" && act.Target.Key != act.By.Key {
		of = " of " + whom
	}
	switch act.Kind {
	case "device.add":
		return "added a device" + of
	case "device.revoke":
		return "revoked a device" + of
	case "invite":
		return "made an invitation for " + article(act.Role)
	case "invite.revoke":
		return "revoked an invitation" + of
	case "setting":
		return strings.TrimSpace("set " + act.Setting + " " + act.Value + clip(act.Text))
	case "rekey":
		return "changed the group's key"
	case "successor":
		return "proposed to move to another group"
	case "retract":
		if of == "" {
			return "took back a message"
		}
		return "removed a message" + of
	case "report":
		return "reported a message" + of
	case "report.close":
		return "closed a report" + of
	}
	return strings.TrimSpace(cleanName(act.Kind) + " " + whom)
}

// reasonOf is the reason that an act was given, on one line; other acts have a text,
// too, that is none.
func reasonOf(act local.Act) string {
	switch {
	case act.Kind == "setting", act.Kind == "genesis", act.Kind == "successor", act.Admits:
		return ""
	}
	return cleanName(act.Text)
}

// article is a role with its article before it.
func article(role string) string {
	if strings.HasPrefix(role, "a") || strings.HasPrefix(role, "o") {
		return "an " + role
	}
	return "a " + role
}

// clip is a text on one line of a table.
func clip(text string) string {
	const most = 60
	line := cleanName(text)
	if r := []rune(line); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return line
}
