package main

import (
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// await waits until a file matches a regular expression: "await FILE REGEXP". The
// output of a background command can be seen only when it has ended, so scripts
// run it through sh and let it write to a file.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE REGEXP")
	}
	re := regexp.MustCompile("(?m)" + args[1])
	var data []byte
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		data, _ = os.ReadFile(ts.MkAbs(args[0])) // it may not be there yet
		if re.Match(data) {
			return
		}
	}
	ts.Fatalf("%s never matched %s; it has: %s", args[0], args[1], data)
}

// capture puts the stdout of the last command into a variable: "capture LINK".
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: capture NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}
