package node

import (
	"context"
	"crypto/rand"

	"github.com/p2pchat/p2pchat/protocol"
)

// Welcomes answers a request in a file without letting anybody in, as somebody does who
// has no say or does not keep to the rule.
func (n *Node) Welcomes(ctx context.Context, request []byte) ([]byte, error) {
	group, q, err := protocol.ParseRequestFile(request)
	if err != nil {
		return nil, err
	}
	r, err := n.room(group)
	if err != nil {
		return nil, err
	}
	w, err := r.welcome(r.me.Root()) // what one may have oneself, handed on
	if err != nil {
		return nil, err
	}
	frames, err := r.bundle(ctx)
	if err != nil {
		return nil, err
	}
	return w.SealFile(group, q, r.me.Signer(), frames, rand.Reader)
}
