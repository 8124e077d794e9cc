package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/p2pchat/p2pchat/cmd/p2pchat/internal/profile"
)

const firstSteps = `p2pchat is group chat without a server. The first three steps:

  p2pchat init --name YOUR-NAME            make a profile
  p2pchat group create "Hiking club"       start a group, or: p2pchat join LINK
  p2pchat invite create "Hiking club"      a link for others

Then: p2pchat chat "Hiking club". All commands: p2pchat --help
`

// newRoot builds the command tree.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "p2pchat",
		Short: "Group chat without a server",
		Long:  "p2pchat is group chat without a server: members find each other on the LAN or through a DHT,\nand everybody holds the whole history.\n\nGROUP is a group's name, if no other group of yours has it, the short id that group list\nprints (grp_ and 8 letters), or the whole id. A name with spaces needs quotes. A text or a\nname that begins with - goes after --, as in: p2pchat send GROUP -- -5 degrees",
		// Cobra's own words go to neither stream: report prints errors.
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args: func(cmd *cobra.Command, got []string) error {
			return checkSubcommand(cmd, got)
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.setup(cmd) },
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(a.stdout, firstSteps)
			return err
		},
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	a.addFlags(root.PersistentFlags())
	root.AddCommand(newInit(a), newWhoami(a), newGroup(a), newInvite(a), newJoin(a), newSend(a), newLog(a),
		newChat(a), newMembers(a), newPeers(a), newBlock(a), newStatus(a), newDaemon(a), newDemo(a), newVersion(a))
	root.AddCommand(newRole(a), newKick(a), newBan(a), newUnban(a), newMute(a), newUnmute(a), newLeave(a),
		newRemoveMessage(a), newReport(a), newRequest(a), newVerify(a), newAudit(a))
	root.AddCommand(newSync(a), newReceipts(a), newExport(a), newImport(a), newPassphrase(a), newBackup(a), newRestore(a), newDevice(a), newDoctor(a))
	root.SetHelpCommand(newHelp())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{cmd: cmd.CommandPath(), err: flagError(err)}
	})
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if a.helpErr = checkSubcommand(cmd, args); a.helpErr == nil {
			help(cmd, args)
		}
	})
	return root
}

// checkSubcommand finds what cobra lets pass with exit code 0: a command that
// exists only to have subcommands, called without one or with an unknown one, with
// or without --help.
func checkSubcommand(cmd *cobra.Command, args []string) error {
	if !cmd.HasSubCommands() {
		return nil
	}
	takesMore := cmd.HasParent() && cmd.Runnable() // report GROUP ID
	if rest := cmd.Flags().Args(); len(rest) > 0 && !(takesMore && cmd.ValidateArgs(rest) == nil) {
		return usagef(cmd, "unknown command %q for %q; there are: %s", rest[0], cmd.CommandPath(), subcommands(cmd))
	}
	asked := slices.Contains(args, "--help") || slices.Contains(args, "-h")
	if cmd.Runnable() || asked {
		return nil
	}
	return usagef(cmd, "%q needs a command: %s", cmd.CommandPath(), subcommands(cmd))
}

// flagError says in plain words what pflag found.
func flagError(err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		dash := "--"
		if unknown.GetSpecifiedShortnames() != "" {
			dash = "-"
		}
		return fmt.Errorf("unknown flag %s%s; a text or a name that begins with - goes after --", dash, unknown.GetSpecifiedName())
	case errors.As(err, &invalid):
		flag, why := invalid.GetFlag(), errors.Unwrap(invalid).Error()
		switch flag.Value.Type() {
		case "int", "uint32", "uint64":
			why = fmt.Sprintf("%q is not a whole number from 0 that fits", invalid.GetValue())
		case "bool":
			why = fmt.Sprintf("%q is neither true nor false", invalid.GetValue())
		}
		return fmt.Errorf("--%s: %s", flag.Name, why)
	}
	return err
}

func subcommands(cmd *cobra.Command) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return strings.Join(names, ", ")
}

// newHelp replaces cobra's, which answers an unknown topic with 0.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef(cmd.Root(), "no help for %q", strings.Join(args, " "))
			}
			c.InitDefaultHelpFlag()
			c.HelpFunc()(c, []string{"--help"})
			return nil
		},
	}
}

// args checks the number of arguments; a wrong one is wrong usage.
func args(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		switch {
		case len(got) < least:
			return usagef(cmd, "%s is missing", what)
		case most >= 0 && len(got) > most:
			return usagef(cmd, "unexpected %q; a name with spaces needs quotes", got[most])
		}
		return nil
	}
}

// names checks that there is exactly one argument for each name.
func names(all ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		missing := ""
		if len(got) < len(all) {
			missing = all[len(got)]
		}
		return args(len(all), len(all), missing)(cmd, got)
	}
}

// addFlags adds what every command takes.
func (a *app) addFlags(f *pflag.FlagSet) {
	f.StringVar(&a.home, "home", "", "`directory` of the profile (env P2PCHAT_HOME)")
	f.BoolVar(&a.json, "json", false, "print one JSON object a line")
	f.IntVar(&a.passphraseFD, "passphrase-fd", -1, "read passphrases from file descriptor `N`, a line each, rather than ask")
	f.BoolVar(&a.verbose, "verbose", false, "log to stderr")
	f.StringArrayVar(&a.net.Listen, "listen", nil, "`multiaddr` to listen on; repeatable (env P2PCHAT_LISTEN)")
	f.StringArrayVar(&a.net.Bootstrap, "bootstrap", nil, "`multiaddr` of a node that serves the DHT; repeatable (env P2PCHAT_BOOTSTRAP)")
	f.BoolVar(&a.net.MDNS, "mdns", true, "find members on the LAN by multicast (env P2PCHAT_MDNS)")
	f.StringVar(&a.net.DHT, "dht", "", "off or community; community if there is a bootstrap address (env P2PCHAT_DHT)")
}

// setup settles what the flags and the environment say, before any command runs.
func (a *app) setup(cmd *cobra.Command) error {
	a.setLogger()
	var err error
	if a.home, err = profile.Home(a.home, a.getenv); err != nil {
		return err
	}
	flags := cmd.Flags()
	for _, name := range []string{"listen", "bootstrap", "mdns", "dht"} {
		if flags.Changed(name) {
			a.netSet = true
		} else if err := a.fromEnv(flags, name); err != nil {
			return &usageError{cmd: cmd.CommandPath(), err: err}
		}
	}
	if err := a.checkNetwork(); err != nil {
		return &usageError{cmd: cmd.CommandPath(), err: err}
	}
	return nil
}

// fromEnv sets a flag that was not typed from its environment variable.
func (a *app) fromEnv(flags *pflag.FlagSet, name string) error {
	key := "P2PCHAT_" + strings.ToUpper(name)
	value := a.getenv(key)
	if value == "" {
		return nil
	}
	switch name {
	case "listen":
		a.net.Listen = splitList(value)
	case "bootstrap":
		a.net.Bootstrap = splitList(value)
	default:
		if err := flags.Lookup(name).Value.Set(value); err != nil {
			return fmt.Errorf("%s: %q is not a value for --%s", key, value, name)
		}
	}
	return nil
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
}

// checkNetwork names the address that is none, before a library gets it.
func (a *app) checkNetwork() error {
	for _, list := range []struct {
		flag  string
		addrs []string
	}{{"listen", a.net.Listen}, {"bootstrap", a.net.Bootstrap}} {
		for _, s := range list.addrs {
			addr, err := multiaddr.NewMultiaddr(s)
			if err != nil {
				return fmt.Errorf("--%s %q is not a multiaddr; one looks like /ip4/0.0.0.0/tcp/4001", list.flag, s)
			}
			if _, err := addr.ValueForProtocol(multiaddr.P_P2P); list.flag == "bootstrap" && err != nil {
				return fmt.Errorf("--bootstrap %q does not end in /p2p/ID", s)
			}
		}
	}
	switch a.net.DHT {
	case "", "off", "community":
		return nil
	}
	return fmt.Errorf("--dht %s: it is off or community", strconv.Quote(a.net.DHT))
}

// hint quotes an argument for a command to type next.
func hint(arg string) string {
	if arg != "" && !strings.ContainsFunc(arg, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
	}) {
		return arg
	}
	if os.PathSeparator == '\\' {
		return `"` + arg + `"`
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
