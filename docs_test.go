package p2pchat_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A threat that names a test nobody wrote is a promise nobody keeps.
func TestThreatModelNamesItsTests(t *testing.T) {
	page, err := os.ReadFile("docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	have := testNames(t)
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 20 {
		t.Errorf("only %d tests are named: is the page still in this form?", len(named))
	}
	for _, m := range named {
		if !have[m[1]] {
			t.Errorf("docs/threat-model.md names %s, which is no test", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`([a-z]+(?:-[a-z]+)+)`").FindAllStringSubmatch(string(page), -1) {
		if _, err := os.Stat(filepath.Join("protocol/testdata/scenarios", m[1]+".txt")); err != nil {
			t.Errorf("docs/threat-model.md names a scenario: %v", err)
		}
	}
}

func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	decl := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(t \*testing\.T\)`)
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range decl.FindAllSubmatch(b, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
