package ctl

import (
	"context"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/ctl/command"
	"canopy/ctl/held"
	"canopy/ctl/subtree"
)

// furtherCommands are those that etcdctl does not have.
func furtherCommands(s *session) []*cobra.Command {
	h := &command.Host{
		In: s.In, Out: s.Out, Err: s.Err, Getenv: s.Getenv,
		Format: func() string { return s.output }, Table: s.table,
		Run: s.run, RunLong: s.runLong, Each: s.each,
		Other: func(ctx context.Context, endpoints string) (*client.Client, error) {
			return s.other(endpoints, "").dial(ctx)
		},
	}
	var all []*cobra.Command
	for _, make := range []func(*command.Host) []*cobra.Command{held.Commands, subtree.Commands} {
		all = append(all, make(h)...)
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
