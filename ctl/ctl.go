// Package ctl is the command line for keys, members, users and watches of a cluster: canopy ctl. Called by the name etcdctl
// it is what scripts around etcdctl 2.3 expect: the same commands, flags, variables, output and exit statuses.
//
//	words ──▶ arguments (words/) ──▶ command ──▶ session (session.go): flags and variables become a client
//	                                     │
//	                                     ▼
//	                      package client ──▶ output (output.go), or a failure with an exit status (failure.go)
//
// Each command is a function with a cobra.Command, in the file of its noun: keys.go, watch.go, members.go, users.go. All
// that a command asks of a cluster it asks through package client.
package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"canopy/ctl/command"
	"canopy/ctl/words"
)

// Env is what a command has from its process.
type Env struct {
	Name     string // of the program, in help: "canopy ctl" or "etcdctl"
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	// OpenTerminal opens the terminal of the user, to ask for a password. An error means that there is none.
	OpenTerminal func() (*os.File, error)
}

// ProcessEnv is that of this process.
func ProcessEnv(name string) Env {
	return Env{Name: name, In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv,
		OpenTerminal: func() (*os.File, error) { return os.OpenFile("/dev/tty", os.O_RDWR, 0) }}
}

// apiVersion is the release whose command line this is.
const apiVersion = "2.3.8"

// Main runs a command line in this process, with further commands, and gives the exit status. SIGINT and SIGTERM end what
// runs.
func Main(name string, args []string, more ...*cobra.Command) (exit int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return Run(ctx, ProcessEnv(name), args, more...)
}

// Run runs a command line, with further commands, and gives the exit status.
func Run(ctx context.Context, env Env, args []string, more ...*cobra.Command) (exit int) {
	s := &session{Env: env}
	root := newRoot(s)
	for _, c := range more {
		c.Annotations = map[string]string{command.Once: ""}
		root.AddCommand(c)
	}
	root.SetArgs(words.Normalize(root, args))
	if err := s.refuseV3(args); err != nil {
		return s.fail(err)
	}
	if err := root.ExecuteContext(s.with(ctx)); err != nil {
		return s.fail(err)
	}
	return 0
}

func newRoot(s *session) *cobra.Command {
	root := &cobra.Command{
		Use:           strings.Fields(s.Name)[0],
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: s.Name}, // of two words
		Short:         "Read, change and watch the keys of a cluster, and manage its members and users",
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %q; see '%s --help'", args[0], s.Name)
			}
			return nil
		},
		// The output format is checked before anything is done (C21).
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return s.check() },
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	version := root.Flags().BoolP("version", "v", false, "print the version of etcdctl whose command line this is")
	root.RunE = func(c *cobra.Command, _ []string) error {
		if *version { // cobra's own way links text/template, which keeps the linker from leaving out what nobody calls
			s.printf("etcdctl version %s\n", apiVersion)
			return nil
		}
		return c.Help()
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%v; see '%s --help'", err, c.CommandPath())
	})
	root.CompletionOptions.DisableDefaultCmd = false
	s.flags(root.PersistentFlags())
	for _, make := range []func(*session) []*cobra.Command{keyCommands, watchCommands, memberCommands, userCommands, furtherCommands} {
		root.AddCommand(make(s)...)
	}
	return root
}

// group is a command that only has others below it.
func group(name, short string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, RunE: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("unknown command %q; see '%s --help'", args[0], c.CommandPath())
		}
		return c.Help()
	}}
	c.AddCommand(below...)
	return c
}

// refuseV3 answers who wants a command of etcd v3.
func (s *session) refuseV3(args []string) error {
	if s.Getenv("ETCDCTL_API") != "3" || len(args) == 0 {
		return nil
	}
	for _, word := range []string{"put", "del", "txn", "lease", "endpoint", "snapshot", "compaction", "defrag", "alarm", "move-leader", "migrate"} {
		if args[0] == word {
			return usage("%s is a command of the v3 API (ETCDCTL_API=3); this speaks the v2 API", word)
		}
	}
	return nil
}

// printf writes to standard output.
func (s *session) printf(format string, args ...any) { fmt.Fprintf(s.Out, format, args...) }

// tell writes a line to standard error.
func (s *session) tell(format string, args ...any) {
	fmt.Fprintln(s.Err, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}
