package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/p2pchat/p2pchat/node"
	"github.com/p2pchat/p2pchat/protocol"
)

// Device is one of this person's devices in a group. Its key is another in each.
type Device struct {
	Group   string     `json:"group"`
	Key     string     `json:"key"`
	Me      bool       `json:"me"`    // this one
	Added   *time.Time `json:"added"` // null: its place in the group was undone
	Spoke   *time.Time `json:"spoke"` // null: never
	Forked  bool       `json:"forked"`
	Revoked bool       `json:"revoked"`
}

// RevokeDevice ends a device.
type RevokeDevice struct {
	Group  string `json:"group"`
	Device string `json:"device"` // a whole key
}

// devices are the routes about devices and what makes another one.
func (s *server) devices(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/devices", lines(s.getDevices))
	mux.HandleFunc("POST /v1/device/revoke", ask(s.postDeviceRevoke))
	mux.HandleFunc("GET /v1/backup", s.getBackup)
}

func (s *server) getDevices(r *http.Request) ([]Device, error) {
	group, err := s.find(r.FormValue("group"))
	if err != nil {
		return nil, err
	}
	list, err := s.node.Devices(r.Context(), group)
	var out []Device
	for _, d := range list {
		out = append(out, newDevice(group, d))
	}
	return out, err
}

func newDevice(group protocol.ID, d node.Device) Device {
	return Device{
		Group: group.Text(protocol.GroupPrefix), Key: d.Key.Text(protocol.DevicePrefix), Me: d.Me,
		Added: moment(d.Added), Spoke: moment(d.Spoke), Forked: d.Forked, Revoked: d.Revoked,
	}
}

func (s *server) postDeviceRevoke(ctx context.Context, in RevokeDevice) (Act, error) {
	group, err := s.find(in.Group)
	if err != nil {
		return Act{}, err
	}
	dev, err := protocol.ParseID(protocol.DevicePrefix, in.Device)
	if err != nil {
		return Act{}, err
	}
	a, err := s.node.RevokeDevice(ctx, group, protocol.Key(dev))
	return newAct(a), err
}

// getBackup answers with all that the node holds of its groups. Whoever can open the
// socket can read them in any case; the account's seed is not among it.
func (s *server) getBackup(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := s.waiting(r.Context())
	defer cancel()
	out := &begun{w: w}
	err := s.node.Backup(ctx, out)
	switch {
	case err == nil:
	case out.begun:
		panic(http.ErrAbortHandler) // so that the client sees no proper end
	default:
		fail(w, cut(ctx, err))
	}
}

// begun knows whether anything was written.
type begun struct {
	w     io.Writer
	begun bool
}

// Write implements io.Writer.
func (b *begun) Write(p []byte) (int, error) {
	b.begun = true
	return b.w.Write(p)
}

// Devices lists this person's devices in a group, the newest first.
func (c *Client) Devices(ctx context.Context, group string) ([]Device, error) {
	return all[Device](ctx, c, about("/v1/devices", group))
}

// RevokeDevice ends a device.
func (c *Client) RevokeDevice(ctx context.Context, in RevokeDevice) (Act, error) {
	return post[Act](ctx, c, "/v1/device/revoke", false, in)
}

// ErrCutShort says that a stream ended before its end. What came of it is of no use.
var ErrCutShort = errors.New("the stream was cut short")

// Backup writes all that a new device needs to read the groups. After an error what was
// written is to be thrown away.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	resp, err := c.do(ctx, question{method: http.MethodGet, path: "/v1/backup", harmless: true})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(w, resp.Body)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("backup: %w: the process that holds the profile stopped, or part of its history is damaged", ErrCutShort)
	}
	return err
}
