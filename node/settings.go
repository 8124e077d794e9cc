package node

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/p2pchat/p2pchat/protocol"
)

// What an admission setting is called.
const (
	AdmissionInvite  = "invite"
	AdmissionApprove = "approve"
	AdmissionOpen    = "open"
)

// What a history policy is called.
const (
	HistoryAll       = "all"
	HistorySinceJoin = "since-join"
)

var admissions = map[string]uint64{
	AdmissionInvite: protocol.AdmissionInvite, AdmissionApprove: protocol.AdmissionApprove, AdmissionOpen: protocol.AdmissionOpen,
}

var histories = map[string]uint64{HistoryAll: uint64(protocol.HistoryAll), HistorySinceJoin: uint64(protocol.HistorySinceJoin)}

// called returns what a value is called.
func called(names map[string]uint64, value uint64) string {
	for name, v := range names {
		if v == value {
			return name
		}
	}
	return fmt.Sprintf("unknown-%d", value)
}

// Settings returns what is in force in a group, every field filled.
func (n *Node) Settings(group protocol.ID) (Settings, error) {
	r, err := n.room(group)
	if err != nil {
		return Settings{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name, topic, rules := r.name(), r.textOf(protocol.SettingTopic), r.textOf(protocol.SettingRules)
	announce := r.valueOf(protocol.SettingAnnounce) != 0
	slow := time.Duration(min(r.valueOf(protocol.SettingSlowMode), uint64(slowMost/time.Second))) * time.Second
	retention, _ := r.current().Retention()
	admission, history := called(admissions, r.valueOf(protocol.SettingAdmission)), called(histories, r.valueOf(protocol.SettingHistory))
	return Settings{
		Name: &name, Topic: &topic, Rules: &rules, Announce: &announce, SlowMode: &slow,
		Admission: &admission, History: &history, Retention: &retention,
	}, nil
}

// valueOf returns the number of a setting that is in force. The caller holds mu.
func (r *room) valueOf(number uint16) uint64 {
	if v, ok := r.current().Value(number); ok {
		return v
	}
	switch number {
	case protocol.SettingAdmission:
		return protocol.AdmissionInvite
	case protocol.SettingHistory:
		if _, c, ok := r.set.Get(r.group); ok {
			return uint64(c.(*protocol.Genesis).History)
		}
	}
	return 0
}

// textOf returns the text of a setting that is in force. The caller holds mu.
func (r *room) textOf(number uint16) string {
	id, ok := r.current().Setting(number)
	if !ok {
		return ""
	}
	v, _, _ := r.set.Get(id)
	text, _ := r.asideText(v)
	return text
}

// Set changes settings of a group: one act for each that is another than before, all
// of them or none. A value is refused where a senior's stricter one would stay in
// force.
func (n *Node) Set(ctx context.Context, group protocol.ID, s Settings) ([]Act, error) {
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	acts, err := r.perform(ctx, func() ([]intent, error) { return r.planSet(s) })
	if err != nil {
		return nil, fmt.Errorf("set: %w", err)
	}
	return acts, nil
}

func (r *room) planSet(s Settings) ([]intent, error) {
	texts, err := s.texts()
	if err != nil {
		return nil, err
	}
	numbers, err := s.numbers()
	if err != nil {
		return nil, err
	}
	me, err := r.standing(protocol.KindSetting)
	if err != nil {
		return nil, err
	}
	var out []intent
	for _, t := range texts {
		old := r.textOf(t.number)
		if t.number == protocol.SettingName {
			old = r.name()
		}
		if t.text != old {
			out = append(out, intent{
				kind: protocol.KindSetting, clear: &protocol.Setting{Number: t.number}, aside: &protocol.Aside{Text: t.text},
				must: r.current().Values(t.number),
			})
		}
	}
	for _, v := range numbers {
		if v.Value == r.valueOf(v.Number) {
			continue
		}
		if id, ok := r.current().Overrules(v.Number, v.Value, me.Rank); ok {
			_, c, _ := r.set.Get(id)
			_, theirs := setLine(c.(*protocol.Setting), "")
			return nil, fmt.Errorf("%w: %q is by %s, as %s, and stays in force; less needs that role or a more senior one, yours is %s",
				ErrNotAllowed, theirs, r.authorOf(id).label(), r.current().Acting(id), me.Rank)
		}
		out = append(out, intent{kind: protocol.KindSetting, clear: &v, must: r.current().Values(v.Number)})
	}
	return out, nil
}

// textSetting is a setting whose value is sealed text.
type textSetting struct {
	number uint16
	text   string
}

// texts checks and lists the text settings.
func (s *Settings) texts() ([]textSetting, error) {
	var out []textSetting
	for _, f := range []struct {
		what   string
		text   *string
		number uint16
		most   int
		line   bool
	}{
		{"name", s.Name, protocol.SettingName, protocol.MaxNameSize, true},
		{"topic", s.Topic, protocol.SettingTopic, topicMost, true},
		{"rules", s.Rules, protocol.SettingRules, rulesMost, false},
	} {
		if f.text == nil {
			continue
		}
		if err := checkText(*f.text, f.most, f.line); err != nil {
			return nil, fmt.Errorf("the %s: %w", f.what, err)
		}
		out = append(out, textSetting{f.number, *f.text})
	}
	if s.Name != nil {
		return out, checkGroupName(*s.Name)
	}
	return out, nil
}

// checkText holds a text to its length, and to one line.
func checkText(text string, most int, line bool) error {
	switch {
	case !utf8.ValidString(text):
		return fmt.Errorf("%w: it is not UTF-8", ErrNotText)
	case len(text) > most:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(text), most)
	case line && strings.ContainsAny(text, "\r\n"):
		return fmt.Errorf("%w: it is more than one line", ErrNotText)
	}
	return nil
}

// checkGroupName says whether a group may be called so.
func checkGroupName(name string) error {
	switch {
	case name == "" || len(name) > protocol.MaxNameSize || !utf8.ValidString(name):
		return fmt.Errorf("the name is empty, not UTF-8 or over %d bytes: %w", protocol.MaxNameSize, ErrNotText)
	case strings.HasPrefix(name, protocol.GroupPrefix):
		return fmt.Errorf("the name begins like an id: %w", ErrNotText)
	case strings.ContainsAny(name, "\r\n"):
		return fmt.Errorf("the name is more than one line: %w", ErrNotText)
	}
	return nil
}

// numbers checks and lists the other settings.
func (s *Settings) numbers() ([]protocol.Setting, error) {
	var out []protocol.Setting
	add := func(number uint16, value uint64) { out = append(out, protocol.Setting{Number: number, Value: value}) }
	if s.Announce != nil {
		on := uint64(0)
		if *s.Announce {
			on = 1
		}
		add(protocol.SettingAnnounce, on)
	}
	if s.SlowMode != nil {
		if *s.SlowMode < 0 || *s.SlowMode > slowMost || *s.SlowMode%time.Second != 0 {
			return nil, fmt.Errorf("%w: slow mode of %s: whole seconds from 0 to %s", ErrNotAllowed, *s.SlowMode, slowMost)
		}
		add(protocol.SettingSlowMode, uint64(*s.SlowMode/time.Second))
	}
	if s.Admission != nil {
		v, ok := admissions[*s.Admission]
		if !ok {
			return nil, fmt.Errorf("%w: admission %q: one of invite, approve, open", ErrNotAllowed, *s.Admission)
		}
		add(protocol.SettingAdmission, v)
	}
	if s.History != nil {
		v, ok := histories[*s.History]
		if !ok {
			return nil, fmt.Errorf("%w: history %q: one of all, since-join", ErrNotAllowed, *s.History)
		}
		add(protocol.SettingHistory, v)
	}
	if s.Retention != nil {
		if d := *s.Retention; d != 0 && (d < protocol.MinRetention || d > protocol.MaxRetention) || d%time.Second != 0 {
			return nil, fmt.Errorf("%w: retention of %s: whole seconds from %s to %s, or 0 for ever", ErrNotAllowed, d, protocol.MinRetention, protocol.MaxRetention)
		}
		add(protocol.SettingRetention, uint64(*s.Retention/time.Second))
	}
	return out, nil
}

// sealedSetting says whether a setting's value is its sealed text.
func sealedSetting(number uint16) bool {
	return number == protocol.SettingName || number == protocol.SettingTopic || number == protocol.SettingRules
}

// setLine says what a setting sets: the kind of the line and its text.
func setLine(s *protocol.Setting, text string) (kind, line string) {
	onOff := map[bool]string{true: "on", false: "off"}
	switch s.Number {
	case protocol.SettingName:
		return "named", text
	case protocol.SettingTopic:
		return "set", "topic " + text
	case protocol.SettingRules:
		return "set", "rules " + text
	case protocol.SettingAnnounce:
		return "set", "announcement " + onOff[s.Value != 0]
	case protocol.SettingSlowMode:
		if s.Value == 0 {
			return "set", "slow-mode off"
		}
		return "set", "slow-mode " + shortDuration(s.Value)
	case protocol.SettingAdmission:
		return "set", "admission " + called(admissions, s.Value)
	case protocol.SettingHistory:
		return "set", "history " + called(histories, s.Value)
	case protocol.SettingRetention:
		if s.Value == 0 {
			return "set", "retention off"
		}
		return "set", "retention " + shortDuration(s.Value)
	}
	return "set", fmt.Sprintf("setting %d to %d", s.Number, s.Value)
}

// shortDuration writes seconds as people do: 10s, 5m, 2h, 90d.
func shortDuration(seconds uint64) string {
	switch {
	case seconds%86400 == 0:
		return fmt.Sprintf("%dd", seconds/86400)
	case seconds%3600 == 0:
		return fmt.Sprintf("%dh", seconds/3600)
	case seconds%60 == 0:
		return fmt.Sprintf("%dm", seconds/60)
	}
	return fmt.Sprintf("%ds", seconds)
}
