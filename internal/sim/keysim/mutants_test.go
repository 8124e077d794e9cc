package keysim

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var everyMutant = flag.Bool("all", false, "run every mutant, as make mutants does")

const (
	root     = "../../.."
	handedOn = "n, ok := d.keys.HandOn(d.roster, d.millis()); ok && !fresh {\n\t\treturn n"
	newest   = "d.keys.Meet(d.roster, d.choice(), protocol.MaxWelcomeSecrets, 16)"
)

// mutant is a way to break what is decided about keys: what stands exactly once in a
// file is replaced. says is what the worlds have to notice.
type mutant struct{ name, file, old, new, says string }

var mutants = []mutant{
	{
		"removals and bans make no epoch unfit", "protocol/choose.go",
		"k != KindLeave && k != KindDeviceRevoke {\n\t\treturn true", "k != KindLeave && k != KindDeviceRevoke {\n\t\treturn false", "and can open",
	},
	{
		"leaves and revocations never press", "protocol/choose.go",
		"return told+uint64(grace/time.Millisecond) <= at", "return false", "and can open",
	},
	{
		"an epoch is a candidate by any rekey that claims it", "protocol/keyring.go",
		"return ep != nil && k.rekeys[eid] == rekey &&", "return ep != nil &&", "cannot rotate",
	},
	{
		"a secret need not be what the id commits to", "protocol/epoch.go",
		"if EpochID(group, dev, seq, e) != eid {", "if false {", "forged",
	},
	{
		"a step need not be what the admission commits to", "protocol/keyring.go",
		" && st.Hash == CommitStep(k.group, eid, st.Step, secret.S) {", " {", "forged",
	},
	{
		"newcomers get all of an epoch", "protocol/share.go",
		"\tstep, ok := k.From(r, root, eid)\n", "\tstep, ok := k.From(r, root, eid)\n\tstep = 0\n", "joined after",
	},
	{
		"parents are sealed back where history begins with joining", "protocol/keyring.go",
		"if r.History() != HistorySinceJoin {\n\t\t\tp.Back", "if k != nil {\n\t\t\tp.Back", "joined after",
	},
	{
		"who has seen a newcomer seals where it cannot read", "protocol/keyring.go",
		"last = max(last, s.stepOf(i, eid).Step)", "last = min(last, s.stepOf(i, eid).Step)", "cannot read",
	},
	{
		"no secret is handed to anybody", "protocol/share.go",
		"|| step == 0 && ep.E.IsZero():", "|| step == 0:", "cannot",
	},
	{
		"of equals the first to come is sent under", "protocol/choose.go",
		"cmp.Compare(b.Depth, a.Depth), a.ID.Compare(b.ID))", "cmp.Compare(b.Depth, a.Depth))", "choose different ones",
	},
	{
		"the removed get wraps", "internal/sim/keysim/policy.go",
		"for _, m := range d.roster.Members() {",
		"for _, o := range d.w.devices {\n\t\tm := protocol.Standing{Devices: []protocol.Key{o.id.Dev()}}", "and can open",
	},
	{
		"the removed get answers", "internal/sim/keysim/policy.go",
		"if !ok || owner.Rank >= protocol.Relay {\n\t\treturn nil\n", "if !ok || owner.Rank >= protocol.Relay {\n\t\towner.Root = d.p.root()\n", "and can open",
	},
	{
		"the rendezvous secret stays after a removal", "internal/sim/keysim/policy.go",
		handedOn, "list := " + newest + "; len(list) > 0 {\n\t\treturn list[0]", "can find",
	},
	{
		"the rendezvous secret of the newest rekey is handed on", "internal/sim/keysim/policy.go",
		handedOn, "list := " + newest + "; !fresh && len(list) > 0 {\n\t\treturn list[0]", "can find",
	},
	{
		"a member without an epoch waits for others", "internal/sim/keysim/policy.go",
		"for range rotateMost {", "for range 0 {", "cannot send",
	},
}

// TestMutantsFollowTheCode: each mutant still finds what it changes.
func TestMutantsFollowTheCode(t *testing.T) {
	for _, m := range mutants {
		m.write(t)
	}
}

// TestMutantsAreCaught: the worlds tell what is broken from what is not. It runs one
// mutant; -all runs all.
func TestMutantsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs the worlds once more")
	}
	list := mutants[:1]
	if *everyMutant {
		list = mutants
	}
	for _, m := range list {
		t.Run(m.name, m.caught)
	}
}

func (m mutant) caught(t *testing.T) {
	cmd := exec.Command("go", "test", "-count=1", "-timeout=300s", "-run=^TestRandomWorlds$", "-overlay="+m.write(t), "./internal/sim/keysim")
	cmd.Dir = root
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	said := regexp.MustCompile(`seed \d+: .*` + m.says + ".*").Find(text)
	switch {
	case err == nil:
		t.Error("it survived")
	case !errors.As(err, &exit) || said == nil:
		t.Errorf("%v, and not because of %q:\n%.2000s", err, m.says, text)
	default:
		t.Logf("%s", said)
	}
}

// write puts the changed source and the list of what it replaces into a folder.
func (m mutant) write(t *testing.T) (overlay string) {
	t.Helper()
	from, err := filepath.Abs(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		t.Fatalf("%q is in %s %d times: the mutant has to follow the code", m.old, m.file, n)
	}
	temp := t.TempDir()
	to, overlay := filepath.Join(temp, "source.go"), filepath.Join(temp, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{from: to}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{to: []byte(strings.Replace(string(b), m.old, m.new, 1)), overlay: list} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return overlay
}
