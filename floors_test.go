package p2pchat_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The house has floors, and imports look down only. These tests keep it so;
// ARCHITECTURE.md says what lives on which floor.

const module = "github.com/p2pchat/p2pchat"

// A floor is a top-level folder and everything below it.
type floor struct {
	may    []string // floors that it may import, besides itself
	reason string
}

// floors lists all folders that hold Go code. What a test file imports is not
// held against it, except that nothing but cmd may import cmd.
var floors = map[string]floor{
	"protocol": {nil, "protocol is the pure core: it has to be testable, replayable and portable without anything around it"},
	"storage":  {[]string{"protocol"}, "storage keeps what protocol verified; it knows no network, so that it can be tested and swapped alone"},
	"node":     {[]string{"protocol", "storage"}, "node is a public library: another program imports it without our commands or our test support"},
	"cmd":      {[]string{"protocol", "storage", "node"}, "commands may use every floor below, but not the test support"},
	"internal": {[]string{"protocol", "storage", "node"}, "test support serves the floors below cmd; commands are tested from within cmd"},
	".":        {nil, "the root package holds tests about the whole tree only"},
}

// forbidden are packages (with everything below them) that a floor must not
// import itself; the reasons are for whoever wants to. log/slog is not among
// them: secrets need its Value type to print themselves as "redacted".
var forbidden = map[string]map[string]string{
	"protocol": {
		"net":         "protocol does not touch the network: values in, values out",
		"os":          "protocol does not touch files, processes or the environment",
		"io/ioutil":   "protocol does not touch files",
		"log":         "protocol does not log: it returns errors, and node decides what to log",
		"crypto/rand": "randomness is brought to protocol (as an io.Reader or bytes), so that a run can be replayed",
		"math/rand":   "randomness is brought to protocol (as an io.Reader or bytes), so that a run can be replayed",
	},
}

// forbiddenDeps are modules that packages must not depend on, even indirectly.
var forbiddenDeps = map[string]map[string]string{
	"protocol/...": {
		"github.com/libp2p/": "protocol is the pure core: identifiers of libp2p are bytes to it",
		"github.com/ipfs/":   "protocol does not store: that is what storage is for",
	},
	"storage/...": {
		"github.com/libp2p/": "storage does not know where events come from",
	},
	"storage": {
		"github.com/cockroachdb/pebble": "the program chooses the driver: storage knows the go-datastore interface only",
	},
	"node/...": {
		"github.com/cockroachdb/pebble": "the program chooses the driver: whoever embeds node may have another",
	},
}

// clockCalls are what reads or waits for a clock in package time.
var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func TestImportsLookDownOnly(t *testing.T) {
	for _, f := range goFiles(t) {
		own := floors[f.floor]
		for _, imp := range f.imports() {
			inside, ok := strings.CutPrefix(imp, module+"/")
			if !ok {
				continue
			}
			to := floorOf(inside)
			switch {
			case to == f.floor:
			case f.test && to != "cmd":
			case f.test:
				t.Errorf("%s imports %s: nothing outside cmd imports cmd, not even its tests", f.path, imp)
			case to == "internal":
				t.Errorf("%s imports %s: test support stays out of what users run; only _test.go files import it", f.path, imp)
			case !slices.Contains(own.may, to):
				t.Errorf("%s imports %s, which is not below it: %s", f.path, imp, own.reason)
			}
		}
	}
}

func TestEveryFolderHasAFloor(t *testing.T) {
	for _, f := range goFiles(t) {
		if _, ok := floors[f.floor]; !ok {
			t.Errorf("%s is in a top-level folder without a floor: a new one has to earn its place, and is then listed here", f.path)
		}
	}
}

func TestForbiddenImports(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		for _, imp := range f.imports() {
			for bad, reason := range forbidden[f.floor] {
				if imp != "log/slog" && (imp == bad || strings.HasPrefix(imp, bad+"/")) {
					t.Errorf("%s imports %s: %s", f.path, imp, reason)
				}
			}
			if imp == "testing" && f.floor != "internal" {
				t.Errorf("%s imports testing: it adds flags and weight to every program that links it", f.path)
			}
		}
	}
}

// TestForbiddenDependencies asks the go command, because what a dependency
// imports is in no file of ours.
func TestForbiddenDependencies(t *testing.T) {
	for name, bad := range forbiddenDeps {
		if matches, _ := filepath.Glob(strings.TrimSuffix(name, "/...") + "/*.go"); len(matches) == 0 {
			t.Errorf("%s: no Go files, so this test checks nothing", name)
			continue
		}
		for _, dep := range goList(t, "-deps", "./"+name) {
			for prefix, reason := range bad {
				if strings.HasPrefix(dep, prefix) {
					t.Errorf("%s depends on %s: %s (go mod why %[2]s tells through whom)", name, dep, reason)
				}
			}
		}
	}
}

func TestProtocolHasNoClockAndNoGoroutines(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.floor != "protocol" || f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a goroutine in protocol: node owns every goroutine, and a replay needs one order", f.at(n))
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clockCalls, n.Sel.Name) {
					t.Errorf("%s: time.%s in protocol: the time is brought to it, so that a run can be replayed", f.at(n), n.Sel.Name)
				}
			}
			return true
		})
	}
}

func TestNoInit(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Recv == nil && fn.Name.Name == "init" && !f.generated() {
				t.Errorf("%s: init runs in every program that imports the package, unseen: build it where it is used", f.at(fn))
			}
		}
	}
}

// TestNoMutableGlobals finds the package-level variables that are there to be
// changed: those without a value, and those whose value only makes sense when
// it changes. Tables and error sentinels pass.
func TestNoMutableGlobals(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test || f.generated() {
			continue
		}
		for _, d := range f.ast.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR || embeds(gen) {
				continue
			}
			for _, s := range gen.Specs {
				if what := mutable(s.(*ast.ValueSpec)); what != "" {
					t.Errorf("%s: %s: two nodes in one program would share it; make it a field", f.at(s), what)
				}
			}
		}
	}
}

func mutable(v *ast.ValueSpec) string {
	if v.Names[0].Name == "_" {
		return ""
	}
	if len(v.Values) == 0 {
		return "a global without a value is there to be changed"
	}
	for i, name := range v.Names {
		if name.IsExported() && !strings.HasPrefix(name.Name, "Err") {
			return "any importer can change the exported global " + name.Name + " (only ErrX sentinels are exported)"
		}
		if i >= len(v.Values) {
			continue // one call that returns several values
		}
		switch val := v.Values[i].(type) {
		case *ast.CallExpr:
			if fn, ok := val.Fun.(*ast.Ident); ok && (fn.Name == "make" || fn.Name == "new") {
				return "the global " + name.Name + " starts empty, so it is there to be filled"
			}
		case *ast.CompositeLit:
			if sel, ok := val.Type.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok && (pkg.Name == "sync" || pkg.Name == "atomic") {
					return "the global " + name.Name + " is there to be changed"
				}
			}
		}
	}
	return ""
}

// embeds reports a //go:embed, which has to have no value.
func embeds(d *ast.GenDecl) bool {
	return d.Doc != nil && slices.ContainsFunc(d.Doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed")
	})
}

// A goFile is one source file of this module, for whatever system.
type goFile struct {
	path  string // with slashes, from the root
	floor string
	test  bool
	ast   *ast.File
	fset  *token.FileSet
}

func (f goFile) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", f.path, f.fset.Position(n.Pos()).Line)
}

func (f goFile) generated() bool { return ast.IsGenerated(f.ast) }

func (f goFile) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
		paths = append(paths, p)
	}
	return paths
}

// goFiles reads all files of the tree: unlike go list, which sees those of
// one system and set of build tags.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(filepath.ToSlash(name)); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (base == "testdata" || base == "tools" || base == "node_modules" || strings.ContainsAny(base[:1], "._")):
			return filepath.SkipDir
		case d.IsDir() || path.Ext(base) != ".go":
			return nil
		}
		parsed, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		slashed := filepath.ToSlash(name)
		files = append(files, goFile{slashed, floorOf(path.Dir(slashed)), strings.HasSuffix(slashed, "_test.go"), parsed, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// floorOf is the first part of a folder's path from the root.
func floorOf(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list %v: %s", args, exit.Stderr)
		}
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}
