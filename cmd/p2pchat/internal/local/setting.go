package local

import (
	"context"
	"net/http"
	"time"

	"github.com/p2pchat/p2pchat/node"
)

// Settings are what a group has agreed on. To set some, leave the others out.
type Settings struct {
	Name         *string `json:"name,omitempty"`
	Topic        *string `json:"topic,omitempty"`
	Rules        *string `json:"rules,omitempty"`
	Announcement *bool   `json:"announcement,omitempty"` // only moderators and their seniors speak
	SlowMode     *int64  `json:"slow_mode,omitempty"`    // seconds between two messages of a member; 0 is off
	Admission    *string `json:"admission,omitempty"`    // "open", "invite" or "approve"
	History      *string `json:"history,omitempty"`      // "all" or "since-join": what newcomers read
	Retention    *int64  `json:"retention,omitempty"`    // seconds that messages are kept; 0 is for ever
}

func newSettings(s node.Settings) Settings {
	out := Settings{
		Name: s.Name, Topic: s.Topic, Rules: s.Rules, Announcement: s.Announce, Admission: s.Admission, History: s.History,
	}
	if s.SlowMode != nil {
		seconds := int64(*s.SlowMode / time.Second)
		out.SlowMode = &seconds
	}
	if s.Retention != nil {
		seconds := int64(*s.Retention / time.Second)
		out.Retention = &seconds
	}
	return out
}

func (s Settings) node() node.Settings {
	out := node.Settings{
		Name: s.Name, Topic: s.Topic, Rules: s.Rules, Announce: s.Announcement, Admission: s.Admission, History: s.History,
	}
	if s.SlowMode != nil {
		pause := time.Duration(*s.SlowMode) * time.Second
		out.SlowMode = &pause
	}
	if s.Retention != nil {
		d := time.Duration(min(max(*s.Retention, -1), maxSpan)) * time.Second
		out.Retention = &d
	}
	return out
}

// maxSpan is more seconds than may be set, and few enough for a time.Duration.
const maxSpan = 1 << 33

// NewSettings asks to change settings.
type NewSettings struct {
	Group string `json:"group"`
	Settings
}

func (s *server) getSettings(r *http.Request) (Settings, error) {
	group, err := s.find(r.FormValue("group"))
	if err != nil {
		return Settings{}, err
	}
	settings, err := s.node.Settings(group)
	return newSettings(settings), err
}

func (s *server) postSettings(ctx context.Context, in NewSettings) ([]Act, error) {
	group, err := s.find(in.Group)
	if err != nil {
		return nil, err
	}
	done, err := s.node.Set(ctx, group, in.node())
	out := []Act{}
	for _, act := range done {
		out = append(out, newAct(act))
	}
	return out, err
}

// Settings returns what a group has agreed on.
func (c *Client) Settings(ctx context.Context, group string) (Settings, error) {
	return get[Settings](ctx, c, about("/v1/settings", group))
}

// Set changes settings of a group; what is nil stays as it is.
func (c *Client) Set(ctx context.Context, in NewSettings) ([]Act, error) {
	return post[[]Act](ctx, c, "/v1/settings", false, in)
}
