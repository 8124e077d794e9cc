package node

import (
	"fmt"
	"io"
)

// A secret prints as "redacted", but not where it is in a field that is not exported:
// fmt does not call methods there. So what holds secrets in such fields, and might be
// printed by somebody who looks for a fault, says what it is and nothing more.

// Format prints no more than what it is.
func (*Node) Format(f fmt.State, _ rune) { redact(f, "node") }

func (*room) Format(f fmt.State, _ rune)      { redact(f, "room") }
func (keys) Format(f fmt.State, _ rune)       { redact(f, "keys") }
func (door) Format(f fmt.State, _ rune)       { redact(f, "door") }
func (rotation) Format(f fmt.State, _ rune)   { redact(f, "rotation") }
func (openInvite) Format(f fmt.State, _ rune) { redact(f, "invite") }
func (*self) Format(f fmt.State, _ rune)      { redact(f, "self") }

func redact(f fmt.State, what string) { _, _ = io.WriteString(f, what+" (redacted)") }
