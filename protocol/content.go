package protocol

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// ErrErased says that an event's body was erased; its header is all there is.
var ErrErased = errors.New("erased")

// ErrNotText says that a text is empty or not UTF-8.
var ErrNotText = errors.New("not a text")

// Content is what a message says: the plaintext of its body. Which fields a kind
// uses is in [Content.check].
type Content struct {
	Text       string      `cbor:"1,keyasint,omitempty"` // text, reply, edit; the emoji of a reaction; a retraction's reason
	To         ID          `cbor:"3,keyasint,omitzero"`  // the message it is about: reply, reaction, edit; of others see [Header]
	Attachment *Attachment `cbor:"5,keyasint,omitempty"`
	Boxed      []byte      `cbor:"7,keyasint,omitempty"` // report, report.close: sealed again to the moderators
}

// Attachment names a file that is fetched on demand from any holder.
type Attachment struct {
	Name string `cbor:"1,keyasint"`
	Type string `cbor:"3,keyasint,omitempty"` // media type (RFC 6838)
	Size uint64 `cbor:"5,keyasint"`           // bytes of plaintext
	Key  Secret `cbor:"7,keyasint"`           // of the file's chunks
	Hash ID     `cbor:"9,keyasint"`           // SHA-256 over the ciphertext
}

// checkSizes holds for the content of every kind.
func (c *Content) checkSizes() error {
	if !utf8.ValidString(c.Text) {
		return fmt.Errorf("%w: it is not UTF-8", ErrNotText)
	}
	if len(c.Text) > MaxTextSize {
		return fmt.Errorf("text of %d bytes: %w: at most %d", len(c.Text), ErrTooLarge, MaxTextSize)
	}
	if len(c.Boxed) > MaxTextSize {
		return fmt.Errorf("a box of %d bytes: %w: at most %d", len(c.Boxed), ErrTooLarge, MaxTextSize)
	}
	return nil
}

func (c *Content) check(k Kind) error {
	if err := c.checkSizes(); err != nil {
		return err
	}
	text, to, file, boxed := c.Text != "", !c.To.IsZero(), c.Attachment != nil, len(c.Boxed) > 0
	var ok bool
	switch k {
	case KindText:
		ok = text && !to && !file
	case KindReply, KindReaction, KindEdit:
		ok = text && to && !file
	case KindRetract, KindExpire:
		ok = !to && !file
	case KindReport, KindClose:
		ok = boxed && !text && !to && !file
	case KindAttachment:
		ok = file && utf8.ValidString(c.Attachment.Name) && len(c.Attachment.Name) <= MaxNameSize &&
			utf8.ValidString(c.Attachment.Type) && len(c.Attachment.Type) <= MaxNameSize
	default:
		return nil // a kind of the future is kept and shown as such
	}
	switch {
	case ok && (!boxed || k == KindReport || k == KindClose):
		return nil
	case k == KindText && !text:
		return fmt.Errorf("%w: it is empty", ErrNotText)
	}
	return malformed("the content does not fit a %s", k)
}

// SignMessage seals and signs a message.
func (d Draft) SignMessage(c Content, epoch *Epoch, key ed25519.PrivateKey, random io.Reader) (Verified, error) {
	u, err := d.SealMessage(c, epoch, random)
	if err != nil {
		return Verified{}, err
	}
	return u.Sign(key)
}

// SealMessage seals a message, which fixes its id and its place, and leaves signing it
// to the caller. A device that seals two for one place must not sign both.
func (d Draft) SealMessage(c Content, epoch *Epoch, random io.Reader) (Unsigned, error) {
	if err := c.check(d.Kind); err != nil {
		return Unsigned{}, err
	}
	e := Event{Header: d.header()}
	if err := epoch.address(&e.Header, random); err != nil {
		return Unsigned{}, err
	}
	plain := pad(marshal(c))
	e.Header.BodyLen = uint32(len(plain) + gcmOverhead)
	var err error
	if e.Body, err = epoch.seal(&e.Header, d.Group, plain); err != nil {
		return Unsigned{}, err
	}
	return e.complete(d.Group), nil
}

// OpenMessage opens a message sealed under the epoch.
func (ep *Epoch) OpenMessage(v Verified) (Content, error) {
	var c Content
	plain, err := ep.open(v, v.event.Body)
	if err != nil {
		return c, err
	}
	k := v.event.Header.Kind
	if !k.Known() {
		return c, nil
	}
	if text, ok := decodeText(plain); ok {
		c.Text = text
	} else if err := unmarshal(plain, &c); err != nil {
		return c, fmt.Errorf("message %s: %w", v.id, err)
	}
	return c, c.check(k)
}

// decodeText reads a content that is a text and nothing else, as most are. The others
// are left to the CBOR library.
func decodeText(plain []byte) (string, bool) {
	r := fieldReader{in: plain}
	if r.head(cborMap) != 1 || !r.has(1) {
		return "", false
	}
	n := r.head(cborText)
	if r.bad || n == 0 || n != uint64(len(r.in)) || !utf8.Valid(r.in) {
		return "", false
	}
	return string(r.in), true
}
