// Package held is the commands lock and elect: they hold a lock, or the lead of an election, for as long as a command runs.
// What package lock says of the limits of locks holds here, too.
package held

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/client/election"
	"canopy/client/lock"
	"canopy/ctl/command"
)

// killAfterDefault is the time that a command has to end after its lock is lost.
const killAfterDefault = 5 * time.Second

// options are the flags of both commands.
type options struct {
	host      *command.Host
	ttl       int64 // seconds
	killAfter time.Duration
}

// Commands are lock and elect.
func Commands(h *command.Host) []*cobra.Command {
	return []*cobra.Command{lockCommand(h), electCommand(h)}
}

const help = `The directory has a queue of keys with a TTL. The first one holds it; the others wait without asking.
The command runs in its own process group and gets all signals. Its environment has ETCD_LOCK_KEY and
ETCD_LOCK_INDEX, a number that only rises from holder to holder: give it along to what the command
changes, and refuse lower ones there, since a paused holder cannot know that its time is over.
The exit status is that of the command, or 128 and the signal that ended it. When the lock is lost,
the command is sent SIGTERM, and SIGKILL after --kill-after, and the status is 4.
Without a command the key is printed, and held until SIGINT or SIGTERM.
`

func (o *options) add(c *cobra.Command) {
	c.Flags().Int64Var(&o.ttl, "ttl", 10, "seconds after which a holder that is not heard of loses its place")
	c.Flags().DurationVar(&o.killAfter, "kill-after", killAfterDefault, "time between SIGTERM and SIGKILL for the command, when the lock is lost")
}

func (o *options) check() error {
	if o.ttl < 1 || o.ttl > int64(time.Hour/time.Second) {
		return command.Usage("--ttl is %d, allowed are 1 to 3600", o.ttl)
	}
	if o.killAfter < 0 {
		return command.Usage("--kill-after must not be negative")
	}
	return nil
}

func lockCommand(h *command.Host) *cobra.Command {
	o := options{host: h}
	c := &cobra.Command{Use: "lock DIR [-- COMMAND [ARGUMENT…]]", Short: "Run a command while a lock is held", Long: "Run a command while a lock is held.\n\n" + help}
	o.add(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return command.Usage("key required")
		}
		if err := o.check(); err != nil {
			return err
		}
		return o.hold(c.Context(), args[0], holderName(), args[1:])
	}
	return c
}

func electCommand(h *command.Host) *cobra.Command {
	o := options{host: h}
	var listen bool
	c := &cobra.Command{Use: "elect DIR VALUE [-- COMMAND [ARGUMENT…]]", Short: "Run a command while this candidate leads", Long: "Run a command while this candidate leads; the value tells others who that is.\n\n" + help}
	o.add(c)
	c.Flags().BoolVar(&listen, "listen", false, "stand for nothing: print each leader, the present one first")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return command.Usage("key required")
		case listen && len(args) > 1:
			return command.Usage("too many arguments")
		case !listen && len(args) < 2:
			return command.Usage("value required")
		}
		if err := o.check(); err != nil {
			return err
		}
		if listen {
			return o.listen(c.Context(), args[0])
		}
		return o.hold(c.Context(), args[0], args[1], args[2:])
	}
	return c
}

// holderName tells people who holds a lock.
func holderName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

func dirOf(text string) string { return path.Clean("/" + text) }

// hold waits for the first place in a directory, and runs the command in it.
func (o *options) hold(ctx context.Context, dir, value string, words []string) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	defer signal.Stop(signals)
	ttl := time.Duration(o.ttl) * time.Second
	return o.host.RunLong(ctx, func(ctx context.Context, c *client.Client) error {
		l, err := election.Campaign(ctx, c, dirOf(dir), value, lock.Options{TTL: ttl})
		if err != nil {
			return err
		}
		// A signal that ends ctx is passed on to the command, which may end in its own time.
		result := o.work(ctx.Done(), signals, l, value, words)
		return errors.Join(result, l.Release(context.WithoutCancel(ctx)))
	})
}

// work is what is done while the lock is held.
func (o *options) work(interrupted <-chan struct{}, signals <-chan os.Signal, l *lock.Lock, value string, words []string) error {
	if len(words) > 0 {
		return o.runChild(signals, l, words)
	}
	if err := o.report(l.Key(), value, l.Token()); err != nil {
		return err
	}
	select {
	case <-interrupted:
		return nil
	case <-l.Lost():
		return lock.ErrLost
	}
}

func (o *options) report(key, value string, token uint64) error {
	if o.host.Format() == command.FormatJSON {
		return o.host.JSON(struct {
			Key   string `json:"key"`
			Value string `json:"value"`
			Index uint64 `json:"index"`
		}{key, value, token})
	}
	return o.host.Printf("%s\n", command.Plain(key))
}

// listen prints leaders until ctx ends.
func (o *options) listen(ctx context.Context, dir string) error {
	return o.host.RunLong(ctx, func(ctx context.Context, c *client.Client) error {
		var failed error
		err := election.Observe(ctx, c, dirOf(dir), func(l election.Leader) bool {
			if o.host.Format() == command.FormatJSON {
				failed = o.report(l.Key, l.Value, l.Token)
			} else {
				failed = o.host.Printf("%s %s\n", command.Plain(l.Key), command.Plain(l.Value))
			}
			return failed == nil
		})
		if ctx.Err() != nil {
			return failed
		}
		return errors.Join(failed, err)
	})
}

// isForChild tells whether a signal is passed on: all but those about this process itself.
func isForChild(s os.Signal) bool {
	switch s {
	case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU:
		return false
	}
	return true
}
