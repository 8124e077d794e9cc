package protocol

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// What the tokens by which founders agree begin with.
const (
	PlanScheme    = "p2pchat-plan:"
	ConsentScheme = "p2pchat-consent:"
)

// ErrBadPlan says that a plan or a consent is damaged or not one.
var ErrBadPlan = errors.New("not a valid plan or consent")

// Plan proposes to found a group together. The genesis' salt, from which founders
// derive who they are, is a hash of the seed: so no plan can make somebody show who
// they are in a group that exists, whose id is what they derive that from.
type Plan struct {
	Seed [32]byte // random
	Name string   // the group's
	By   string   // what the planner calls itself
}

// Consent is a founder's answer to a plan.
type Consent struct {
	Salt [32]byte
	Cert Cert
	Name string // what the founder calls itself
}

// wirePlan and wireConsent stand in tokens as a wireLink does in links.
type wirePlan struct {
	V    uint64   `cbor:"1,keyasint"`
	Seed [32]byte `cbor:"3,keyasint"`
	Name string   `cbor:"5,keyasint"`
	By   string   `cbor:"6,keyasint,omitempty"`
}

type wireConsent struct {
	V    uint64   `cbor:"1,keyasint"`
	Salt [32]byte `cbor:"3,keyasint"`
	Cert Cert     `cbor:"5,keyasint"`
	Name string   `cbor:"6,keyasint,omitempty"`
}

// Salt returns the salt of the genesis that the plan is for.
func (p Plan) Salt() [32]byte { return hash("p2pchat/1 plan salt", p.Seed[:]) }

// Text returns the plan as one word.
func (p Plan) Text() string {
	return PlanScheme + tokenText("p2pchat/1 plan", marshal(wirePlan{V: Version, Seed: p.Seed, Name: p.Name, By: p.By}))
}

// ParsePlan reads a plan.
func ParsePlan(text string) (Plan, error) {
	var w wirePlan
	if err := parseToken(PlanScheme, "p2pchat/1 plan", text, &w); err != nil {
		return Plan{}, err
	}
	switch {
	case w.V != Version:
		return Plan{}, fmt.Errorf("%w: version %d: %w", ErrBadPlan, w.V, ErrUnknownCritical)
	case w.Seed == [32]byte{} || w.Name == "" || !shortText(w.Name) || !shortText(w.By):
		return Plan{}, fmt.Errorf("%w: a field is missing or too long", ErrBadPlan)
	}
	return Plan{Seed: w.Seed, Name: w.Name, By: w.By}, nil
}

// Text returns the consent as one word.
func (c Consent) Text() string {
	return ConsentScheme + tokenText("p2pchat/1 consent", marshal(wireConsent{V: Version, Salt: c.Salt, Cert: c.Cert, Name: c.Name}))
}

// ParseConsent reads a consent, and checks its certificate.
func ParseConsent(text string) (Consent, error) {
	var w wireConsent
	if err := parseToken(ConsentScheme, "p2pchat/1 consent", text, &w); err != nil {
		return Consent{}, err
	}
	switch {
	case w.V != Version:
		return Consent{}, fmt.Errorf("%w: version %d: %w", ErrBadPlan, w.V, ErrUnknownCritical)
	case w.Salt == [32]byte{} || !shortText(w.Name):
		return Consent{}, fmt.Errorf("%w: a field is missing or too long", ErrBadPlan)
	}
	if err := w.Cert.Verify(); err != nil {
		return Consent{}, fmt.Errorf("%w: %w", ErrBadPlan, err)
	}
	return Consent{Salt: w.Salt, Cert: w.Cert, Name: w.Name}, nil
}

func shortText(s string) bool { return len(s) <= MaxNameSize && utf8.ValidString(s) }

func tokenSum(domain string, b []byte) []byte {
	id := hash(domain, b)
	return id[:linkSumLen]
}

func tokenText(domain string, b []byte) string {
	return base32Lower.EncodeToString(append(tokenSum(domain, b), b...))
}

// parseToken reads a token of a scheme. A truncated or mistyped one is told by its
// checksum.
func parseToken(scheme, domain, text string, into any) error {
	text = strings.TrimSpace(text)
	switch {
	case len(text) > MaxLinkSize:
		return fmt.Errorf("%w: %d characters, at most %d", ErrBadPlan, len(text), MaxLinkSize)
	case len(text) < len(scheme) || !strings.EqualFold(text[:len(scheme)], scheme):
		return fmt.Errorf("%w: it does not begin with %q", ErrBadPlan, scheme)
	}
	body := strings.ToLower(text[len(scheme):])
	b, err := base32Lower.DecodeString(body)
	if err != nil || len(b) < linkSumLen || base32Lower.EncodeToString(b) != body ||
		subtle.ConstantTimeCompare(tokenSum(domain, b[linkSumLen:]), b[:linkSumLen]) != 1 {
		return fmt.Errorf("%w: it is cut short or mistyped", ErrBadPlan)
	}
	if err := unmarshal(b[linkSumLen:], into); err != nil {
		return fmt.Errorf("%w: %w", ErrBadPlan, err)
	}
	return nil
}
