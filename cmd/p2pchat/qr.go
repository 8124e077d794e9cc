package main

import (
	"bytes"
	"strings"

	"github.com/mdp/qrterminal/v3"
	"github.com/spf13/cobra"
)

// addQR adds the flag of commands whose output somebody may want to scan.
func addQR(cmd *cobra.Command, qr *bool) {
	cmd.Flags().BoolVar(qr, "qr", false, "show it as a QR code as well: on the terminal, or else on stderr")
}

// printQR draws a text for a camera. What stdout is piped to gets the text alone, so a
// code that is asked for then goes to stderr.
func (a *app) printQR(text string) error {
	out := a.stderr
	if isTerminal(a.stdout) && !a.json {
		out = a.stdout
	}
	_, err := out.Write(qrCode(text))
	return err
}

// qrCode draws a text in half blocks, two rows a line. In upper case a code holds five
// and a half bits a character in place of eight, and nothing that p2pchat shows in a
// code means something else then.
func qrCode(text string) []byte {
	var b bytes.Buffer
	qrterminal.GenerateWithConfig(strings.ToUpper(text), qrterminal.Config{
		Level: qrterminal.L, Writer: &b, HalfBlocks: true, QuietZone: 2,
		BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
		BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
	return b.Bytes()
}
