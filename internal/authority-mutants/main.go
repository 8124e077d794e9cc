// Command authority-mutants breaks the authority rule in many ways, one at a time, and
// runs its tests on each: all have to fail.
//
//	go run ./internal/authority-mutants          all of them
//	go run ./internal/authority-mutants cut ban  those whose name has one of these words in it
//
// The sources stay as they are: the go command is told to read others in their place.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// dir is where the rule is, from the root of the module.
const dir = "protocol/authority"

func main() {
	if err := run(".", os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "authority-mutants:", err)
		os.Exit(1)
	}
}

var errSurvived = errors.New("mutants survived: no test tells them from the rule")

func run(root string, words []string, out io.Writer) error {
	caught, survived := 0, 0
	start := time.Now()
	for _, m := range mutants() {
		if len(words) > 0 && !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(m.name, w) }) {
			continue
		}
		by, err := try(root, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if len(by) == 0 {
			survived++
			fmt.Fprintf(out, "SURVIVED  %s\n", m.name)
			continue
		}
		caught++
		fmt.Fprintf(out, "caught    %s: by %s\n", m.name, strings.Join(by, ", "))
	}
	fmt.Fprintf(out, "%d caught, %d survived, in %.0f s\n", caught, survived, time.Since(start).Seconds())
	switch {
	case survived > 0:
		return errSurvived
	case caught == 0:
		return errors.New("no mutant has such a name")
	}
	return nil
}

// try returns the tests that a mutant fails.
func try(root string, m mutant) ([]string, error) {
	temp, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	overlay, err := write(root, temp, m)
	if err != nil {
		return nil, err
	}
	// Properties drawn by rapid are left out: they would be made smaller for long.
	cmd := exec.Command("go", "test", "-short", "-count=1", "-timeout=60s", "-skip=^TestProperties$", "-overlay="+overlay, "./"+dir)
	cmd.Dir = root
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &exit):
		return nil, err
	case strings.Contains(string(text), "[build failed]") || strings.Contains(string(text), "[setup failed]"):
		return nil, fmt.Errorf("it does not build:\n%s", text)
	}
	return failures(string(text)), nil
}

var failed = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)

// failures are the tests that failed, with how many stories did.
func failures(text string) (by []string) {
	stories := strings.Count(text, "    --- FAIL: TestScenarios/")
	for _, f := range failed.FindAllStringSubmatch(text, -1) {
		if f[1] == "TestScenarios" {
			f[1] = fmt.Sprintf("%d scenarios", stories)
		}
		by = append(by, f[1])
	}
	if len(by) == 0 { // it ran into the time limit, or panicked
		by = append(by, "a test that did not end well")
	}
	return by
}

// write puts the changed sources and the list of what they replace into a folder.
func write(root, temp string, m mutant) (string, error) {
	sources := make(map[string]string)
	for _, e := range m.edits {
		if sources[e.file] == "" {
			b, err := os.ReadFile(filepath.Join(root, dir, e.file))
			if err != nil {
				return "", err
			}
			sources[e.file] = string(b)
		}
		if n := strings.Count(sources[e.file], e.old); n != 1 {
			return "", fmt.Errorf("%q is in %s %d times: the mutant has to follow the code", e.old, e.file, n)
		}
		sources[e.file] = strings.Replace(sources[e.file], e.old, e.new, 1)
	}
	replace := make(map[string]string)
	for name, text := range sources {
		from, err := filepath.Abs(filepath.Join(root, dir, name))
		if err != nil {
			return "", err
		}
		replace[from] = filepath.Join(temp, name)
		if err := os.WriteFile(replace[from], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	overlay := filepath.Join(temp, "overlay.json")
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(overlay, b, 0o600)
	}
	return overlay, err
}
