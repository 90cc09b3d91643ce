package ctl

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"canopy/client"
	"canopy/ctl/command"
	"canopy/ctl/held"
	"canopy/ctl/live"
	"canopy/ctl/load"
	"canopy/ctl/manual"
	"canopy/ctl/shell"
	"canopy/ctl/subtree"
)

// furtherCommands are those that etcdctl does not have.
func furtherCommands(s *session) []*cobra.Command {
	h := &command.Host{
		In: s.In, Out: s.Out, Err: s.Err, Getenv: s.Getenv,
		Format: func() string { return s.output }, Table: s.table,
		OpenTerminal: s.OpenTerminal, Again: s.again,
		Run: s.run, RunLong: s.runLong, Each: s.each,
		Other: func(ctx context.Context, endpoints string) (*client.Client, error) {
			return s.other(endpoints, "").dial(ctx)
		},
	}
	var all []*cobra.Command
	for _, make := range []func(*command.Host) []*cobra.Command{held.Commands, live.Commands, load.Commands, manual.Commands, shell.Commands, subtree.Commands} {
		all = append(all, make(h)...)
	}
	for _, c := range all {
		if slices.Contains([]string{"tree", "cp", "mv", "edit", "diff", "lock", "elect"}, c.Name()) {
			c.ValidArgsFunction = s.completeKeys
		}
	}
	return all
}

// each bounds what one member is asked, by --timeout.
func (s *session) each(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.timeout)
}

// runLong is run for work that may take long: --total-timeout counts only if it is given.
func (s *session) runLong(ctx context.Context, do func(context.Context, *client.Client) error) error {
	if s.given("total-timeout") {
		return s.run(ctx, do)
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	c, err := s.connect(bounded)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(ctx, c)
}

// again runs another command line with the same global flags, but no command of other packages: a cobra.Command keeps the flags
// of its run. The password is asked for once.
func (s *session) again(ctx context.Context, args []string) (exit int) {
	var config client.Config
	if err := s.login(&config, nil); err != nil {
		return s.fail(err)
	}
	env, getenv := s.Env, s.Getenv
	env.Getenv = func(name string) string {
		if name == "ETCDCTL_PASSWORD" && config.Password != "" {
			return config.Password
		}
		return getenv(name)
	}
	s.Env.Getenv = env.Getenv
	var global []string
	s.eachGiven(func(f *pflag.Flag) { global = append(global, "--"+f.Name+"="+f.Value.String()) })
	return Run(ctx, env, append(global, args...))
}
