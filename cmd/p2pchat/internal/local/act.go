package local

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Act is something that was done to a group.
type Act struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"` // "grant", "ban", "setting", …
	Time    time.Time `json:"time"`
	By      Person    `json:"by"`
	Right   string    `json:"right"`             // the role under which it was done
	Target  *Person   `json:"target,omitempty"`  // whom it concerns, if somebody else
	Role    string    `json:"role,omitempty"`    // of a grant or an invitation
	Admits  bool      `json:"admits,omitempty"`  // a grant by which somebody came in
	Setting string    `json:"setting,omitempty"` // as group set calls it
	Value   string    `json:"value,omitempty"`   // of a setting that is no text
	Text    string    `json:"text,omitempty"`    // a reason or a name, verbatim
	Undone  *Act      `json:"undone_by,omitempty"`
	// Unsealed marks a leave that no senior has confirmed yet.
	Unsealed bool `json:"unsealed,omitempty"`
}

func newAct(a node.Act) Act {
	out := Act{
		ID: a.ID.Text(protocol.EventPrefix), Kind: a.Kind, Time: a.Time.UTC(), By: newPerson(a.By),
		Right: a.Right.String(), Admits: a.Admits, Text: a.Text, Unsealed: a.Unsealed,
	}
	if !a.Target.Key.IsZero() {
		p := newPerson(a.Target)
		out.Target = &p
	}
	switch a.Kind {
	case "grant", "invite":
		out.Role = a.Rank.String()
	case "setting":
		out.Setting, out.Value = settingText(a.Number, a.Value)
	}
	if a.Undone != nil {
		by := newAct(*a.Undone)
		by.Undone = nil // one step tells why
		out.Undone = &by
	}
	return out
}

// settingText is a setting's name and its value as group set takes them.
func settingText(number uint16, value uint64) (name, text string) {
	switch number {
	case protocol.SettingName:
		return "name", ""
	case protocol.SettingTopic:
		return "topic", ""
	case protocol.SettingRules:
		return "rules", ""
	case protocol.SettingAnnounce:
		return "announcement", map[bool]string{true: "on", false: "off"}[value != 0]
	case protocol.SettingSlowMode:
		return "slow-mode", spanOrOff(value)
	case protocol.SettingAdmission:
		return "admission", map[uint64]string{
			protocol.AdmissionInvite: "invite", protocol.AdmissionApprove: "approve", protocol.AdmissionOpen: "open",
		}[value]
	case protocol.SettingHistory:
		return "history", map[uint64]string{
			uint64(protocol.HistoryAll): "all", uint64(protocol.HistorySinceJoin): "since-join",
		}[value]
	case protocol.SettingRetention:
		return "retention", spanOrOff(value)
	}
	return "setting " + strconv.Itoa(int(number)), strconv.FormatUint(value, 10)
}

// spanOrOff is a setting in seconds as group set takes it.
func spanOrOff(seconds uint64) string {
	if seconds == 0 {
		return "off"
	}
	return SpanText(time.Duration(min(seconds, maxSpan)) * time.Second)
}

// SpanText is a length of time as people write it: 7d or 1m.
func SpanText(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Deed asks to do something to a group, to one of its people or to an event.
type Deed struct {
	Group  string        `json:"group"`
	Who    string        `json:"who,omitempty"`    // a name or a usr_ key
	ID     string        `json:"id,omitempty"`     // evt_…, whole
	Role   string        `json:"role,omitempty"`   // to become
	Reason string        `json:"reason,omitempty"` // or a note
	Kick   bool          `json:"kick,omitempty"`   // remove without banning
	Try    bool          `json:"try,omitempty"`    // whom to expel: say whether it may be done, and do nothing
	Since  *time.Time    `json:"since,omitempty"`  // undo what they did after it
	For    time.Duration `json:"for,omitempty"`    // 0 is until it is undone
	Solved bool          `json:"solved,omitempty"` // a report is resolved, not dismissed
}

// deeds are the requests that do one thing and answer with it.
func (s *server) deeds(mux *http.ServeMux) {
	for path, do := range map[string]deed{
		"role": s.setRole, "expel": s.expel, "retract": s.retract, "leave": s.leave,
		"unban": func(ctx context.Context, g protocol.ID, in Deed) (node.Act, error) {
			return s.node.Unban(ctx, g, in.Who, in.Reason)
		},
		"mute": func(ctx context.Context, g protocol.ID, in Deed) (node.Act, error) {
			return s.node.Mute(ctx, g, in.Who, node.MuteOptions{For: in.For, Reason: in.Reason})
		},
		"unmute": func(ctx context.Context, g protocol.ID, in Deed) (node.Act, error) {
			return s.node.Unmute(ctx, g, in.Who, in.Reason)
		},
		"invite/revoke": s.revokeInvite, "request/approve": s.approve,
		"report": s.report, "report/close": s.closeReport,
	} {
		mux.HandleFunc("POST /v1/"+path, ask(s.deed(do)))
	}
}

// deed does what is asked for, to a group that is found already.
type deed func(context.Context, protocol.ID, Deed) (node.Act, error)

func (s *server) deed(do deed) func(context.Context, Deed) (Act, error) {
	return func(ctx context.Context, in Deed) (Act, error) {
		group, err := s.find(in.Group)
		if err != nil {
			return Act{}, err
		}
		act, err := do(ctx, group, in)
		return newAct(act), err
	}
}

func (s *server) setRole(ctx context.Context, group protocol.ID, in Deed) (node.Act, error) {
	rank, err := parseRole(in.Role)
	if err != nil {
		return node.Act{}, err
	}
	return s.node.SetRole(ctx, group, in.Who, rank, in.Reason)
}

func (s *server) expel(ctx context.Context, group protocol.ID, in Deed) (node.Act, error) {
	o := node.ExpelOptions{Kick: in.Kick, Reason: in.Reason, Try: in.Try}
	if in.Since != nil {
		o.Since = *in.Since
	}
	return s.node.Expel(ctx, group, in.Who, o)
}

func (s *server) leave(ctx context.Context, group protocol.ID, _ Deed) (node.Act, error) {
	return s.node.Leave(ctx, group)
}

func (s *server) retract(ctx context.Context, group protocol.ID, in Deed) (node.Act, error) {
	id, err := protocol.ParseID(protocol.EventPrefix, in.ID)
	if err != nil {
		return node.Act{}, err
	}
	return s.node.Retract(ctx, group, id, in.Reason)
}

func (s *server) getAudit(r *http.Request) ([]Act, error) {
	return listOf(s, r, s.node.Audit, newAct)
}

func (s *server) getFormer(r *http.Request) ([]Member, error) {
	return listOf(s, r, s.node.Former, newMember)
}

// listOf answers with what a group has of something.
func listOf[In, Out any](s *server, r *http.Request, get func(protocol.ID) ([]In, error), convert func(In) Out) ([]Out, error) {
	group, err := s.find(r.FormValue("group"))
	if err != nil {
		return nil, err
	}
	list, err := get(group)
	var out []Out
	for _, in := range list {
		out = append(out, convert(in))
	}
	return out, err
}

func parseRole(role string) (protocol.Rank, error) {
	rank, err := protocol.ParseRank(role)
	if err != nil {
		return rank, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	return rank, nil
}

// Do does what a path names: "role", "expel", "unban", "mute", "unmute", "leave",
// "retract", "invite/revoke", "request/approve", "report" or "report/close".
func (c *Client) Do(ctx context.Context, path string, in Deed) (Act, error) {
	return post[Act](ctx, c, "/v1/"+path, false, in)
}

// Audit lists what was done to a group, in the order of its history.
func (c *Client) Audit(ctx context.Context, group string) ([]Act, error) {
	return all[Act](ctx, c, about("/v1/audit", group))
}

// Former lists who was in a group and is not any more.
func (c *Client) Former(ctx context.Context, group string) ([]Member, error) {
	return all[Member](ctx, c, about("/v1/former", group))
}
