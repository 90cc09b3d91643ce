package ctl

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"canopy/client"
)

func watchCommands(s *session) []*cobra.Command {
	return []*cobra.Command{s.watchCommand(), s.execWatchCommand()}
}

// watchFlags are those of both commands.
type watchFlags struct {
	after     uint64
	recursive bool
	strict    bool
}

func (f *watchFlags) add(c *cobra.Command) {
	c.Flags().Uint64Var(&f.after, "after-index", 0, "show changes with a greater index; 0: from now on")
	c.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "watch all keys below KEY, too")
	c.Flags().BoolVar(&f.strict, "strict", false, "end with status 4 when changes are no longer in the history, instead of going on from now")
}

func (s *session) watchCommand() *cobra.Command {
	var f watchFlags
	var forever bool
	c := &cobra.Command{Use: "watch KEY…", Short: "Print the next change of a key, or all changes"}
	f.add(c)
	c.Flags().BoolVarP(&forever, "forever", "f", false, "go on after the first change")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("key required")
		}
		return s.watch(c.Context(), args, f, func(_ context.Context, r *client.Response) (bool, error) {
			if r.Node.Dir {
				return true, nil // C36
			}
			if f.recursive || len(args) > 1 {
				s.printf("[%s] %s\n", r.Action, r.Node.Key)
			}
			return forever, s.event(r)
		})
	}
	return c
}

// watch calls each for the changes of keys, in their order for each key, until it returns false.
func (s *session) watch(ctx context.Context, keys []string, f watchFlags, each func(context.Context, *client.Response) (bool, error)) error {
	c, err := s.connectToWatch(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type change struct {
		event *client.Response
		err   error
	}
	changes := make(chan change)
	for _, key := range keys {
		w := &watching{session: s, client: c, key: keyOf(key), flags: f}
		go func() {
			for {
				event, err := w.next(ctx)
				select {
				case changes <- change{event, err}:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
			}
		}()
	}
	for {
		select {
		case next := <-changes:
			if next.err != nil {
				return ignoreEnd(ctx, next.err)
			}
			if more, err := each(ctx, next.event); err != nil || !more {
				return err
			}
		case <-ctx.Done():
			return nil // SIGINT ends a watch in order
		}
	}
}

// connectToWatch connects within --total-timeout; watches themselves have none.
func (s *session) connectToWatch(ctx context.Context) (*client.Client, error) {
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	c, err := s.connect(bounded)
	if err != nil {
		return nil, err
	}
	endpoints := c.Endpoints()
	c.Close()
	s.timeout = max(s.timeout, watchBeginMax)
	if c, err = s.dial(ctx); err != nil {
		return nil, err
	}
	return c, c.SetEndpoints(endpoints)
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// watching is the watch of one key. It begins again after failures of connections and members, without a gap (C37).
type watching struct {
	session *session
	client  *client.Client
	key     string
	flags   watchFlags
	watcher *client.Watcher
	failing bool // the last request has failed, and the user knows
}

// Pauses between tries.
const (
	pauseMin = 100 * time.Millisecond
	pauseMax = 2 * time.Second

	pollMax       = time.Minute
	watchBeginMax = 10 * time.Second // for the answer to begin, which it does at once (K90)
)

func (w *watching) next(ctx context.Context) (*client.Response, error) {
	if w.watcher == nil {
		w.watcher = w.client.Watch(w.key, client.WatchOptions{Recursive: w.flags.recursive, After: w.flags.after})
	}
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		event, err := w.poll(ctx)
		var said *client.Error
		switch {
		case errors.Is(err, errNoChange):
			pause = pauseMin
			continue
		case err == nil && event.Node == nil:
			err = errNoNode
		case err == nil:
			w.recovered()
			return event, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, client.ErrIndexCleared):
			if err := w.skip(err); err != nil {
				return nil, err
			}
			continue
		case errors.As(err, &said) && said.Status < 500:
			return nil, err // it would be refused again
		}
		w.fails(err)
		if !sleep(ctx, pause) {
			return nil, ctx.Err()
		}
	}
}

var errNoChange = errors.New("no change has come")

// poll asks again after a while: a member that is stopped keeps its connections, and nobody would notice. The next request
// is for the same change.
func (w *watching) poll(ctx context.Context) (*client.Response, error) {
	bounded, cancel := context.WithTimeout(ctx, pollMax)
	defer cancel()
	event, err := w.watcher.Poll(bounded)
	if err != nil && ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
		return nil, errNoChange
	}
	return event, err
}

// skip goes on from the present, and says so, when changes are no longer in the history (C37).
func (w *watching) skip(err error) error {
	var said *client.Error
	if w.flags.strict || !errors.As(err, &said) || said.Index <= w.watcher.After() {
		return err
	}
	w.session.tell("watch %s: changes after index %d are no longer in the history; some may be missed; going on after index %d", w.key, w.watcher.After(), said.Index)
	w.watcher = w.client.Watch(w.key, client.WatchOptions{Recursive: w.flags.recursive, After: said.Index})
	return nil
}

func (w *watching) fails(err error) {
	if w.failing {
		return
	}
	w.failing = true
	text, details := describe(err)
	w.session.tell("watch %s: %s; trying again", w.key, text)
	for _, line := range details {
		w.session.tell("%s", line)
	}
}

func (w *watching) recovered() {
	if w.failing {
		w.failing = false
		w.session.tell("watch %s: connected again; no change is missed", w.key)
	}
}

// sleep waits; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *session) execWatchCommand() *cobra.Command {
	var f watchFlags
	c := &cobra.Command{Use: "exec-watch KEY -- COMMAND [ARGUMENT…]", Short: "Run a command for each change of a key, one at a time, in order"}
	f.add(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) < 2 {
			return usage("key and command to exec required")
		}
		if _, err := exec.LookPath(args[1]); err != nil {
			return usage("%w", err)
		}
		return s.watch(c.Context(), args[:1], f, func(ctx context.Context, r *client.Response) (bool, error) {
			if r.Node.Dir {
				s.tell("Ignored dir %s change", r.Node.Key)
				return true, nil
			}
			s.execute(ctx, args[1:], r)
			return ctx.Err() == nil, nil
		})
	}
	return c
}

// execute runs a command for a change, and waits for it. How it fails is told, and the watch goes on (C39).
func (s *session) execute(ctx context.Context, words []string, r *client.Response) {
	run := exec.CommandContext(ctx, words[0], words[1:]...)
	run.Stdout, run.Stderr = s.Out, s.Err
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	run.WaitDelay = 5 * time.Second
	run.Env = append(os.Environ(),
		"ETCD_WATCH_ACTION="+r.Action, "ETCD_WATCH_MODIFIED_INDEX="+strconv.FormatUint(r.Node.ModifiedIndex, 10),
		"ETCD_WATCH_KEY="+r.Node.Key, "ETCD_WATCH_VALUE="+r.Node.Value)
	if err := run.Run(); err != nil && ctx.Err() == nil {
		s.tell("%s, for the change %d of %s: %v", words[0], r.Node.ModifiedIndex, r.Node.Key, err)
	}
}
