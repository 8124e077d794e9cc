package protocol

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// A link may ask a question. The answer is sealed to a key of the invite whose private
// half only members have: who else holds the link reads the question, not the answers.

// maxAnswerBox is the longest sealed answer: padded, behind an X25519 key.
const maxAnswerBox = 512 + 32 + gcmOverhead

// AnswerKey is the key that answers to an invite's question are sealed to. Its seed is
// in the sealed text beside the invite.
func AnswerKey(seed Secret) (BoxKey, error) { return DeriveBoxKey(false, seed) }

// Ask has the link ask a question, whose answers open with the seed.
func (l *Link) Ask(question string, seed Secret) error {
	if question == "" || len(question) > MaxQuestionSize || !utf8.ValidString(question) {
		return fmt.Errorf("a question of %d bytes: from 1 to %d, in UTF-8: %w", len(question), MaxQuestionSize, ErrTooLarge)
	}
	key, err := AnswerKey(seed)
	if err != nil {
		return err
	}
	l.Question, l.AnswerTo = question, [32]byte(key.Public())
	return nil
}

func joinAnswerInfo(group ID, invite, joiner Key) []byte {
	return slices.Concat([]byte("p2pchat/1 answer"), group[:], invite[:], joiner[:])
}

func (l Link) sealAnswer(joiner Key, answer string) ([]byte, error) {
	if l.Question == "" {
		return nil, fmt.Errorf("an answer to a link that asks nothing: %w", ErrMalformed)
	}
	if len(answer) > MaxAnswerSize || !utf8.ValidString(answer) {
		return nil, fmt.Errorf("an answer of %d bytes: at most %d, in UTF-8: %w", len(answer), MaxAnswerSize, ErrTooLarge)
	}
	return sealBox(false, l.AnswerTo[:], joinAnswerInfo(l.Group, l.PublicKey(), joiner), pad([]byte(answer)))
}

// OpenAnswer opens the answer of a request with the seed of its invite; empty where
// there is none.
func (r JoinRequest) OpenAnswer(group ID, seed Secret) (string, error) {
	if len(r.Answer) == 0 {
		return "", nil
	}
	key, err := AnswerKey(seed)
	if err != nil {
		return "", err
	}
	plain, err := openBox(key, joinAnswerInfo(group, r.Invite, r.Cert.Dev), r.Answer)
	if err == nil {
		plain, err = unpad(plain)
	}
	if err != nil {
		return "", fmt.Errorf("answer: %w", err)
	}
	if len(plain) > MaxAnswerSize || !utf8.Valid(plain) {
		return "", fmt.Errorf("answer: %w", malformed("it is too long or not UTF-8"))
	}
	return string(plain), nil
}
