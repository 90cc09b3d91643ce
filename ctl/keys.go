package ctl

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"canopy/client"
	"canopy/ctl/prompt"
)

func keyCommands(s *session) []*cobra.Command {
	commands := []*cobra.Command{
		s.getCommand(), s.lsCommand(), s.setCommand(), s.mkCommand(), s.updateCommand(),
		s.dirCommand("mkdir", "Make a directory", makeDir), s.dirCommand("setdir", "Make a directory, or set the TTL of one", setDir),
		s.dirCommand("updatedir", "Set the TTL of a directory", updateDir), s.rmCommand(), s.rmdirCommand(),
	}
	for _, c := range commands {
		c.ValidArgsFunction = s.completeKeys
	}
	return commands
}

// keyOf reads a key argument: with a slash in front, and cleaned, but for a slash at the end (C28).
func keyOf(text string) string {
	clean := path.Clean("/" + text)
	if strings.HasSuffix(text, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// keyArg is the first argument, or "key required" (C23).
func keyArg(args []string) (string, error) {
	if len(args) == 0 || args[0] == "" {
		return "", usage("key required")
	}
	return keyOf(args[0]), nil
}

// valueMax bounds a value that is read from standard input. Servers refuse less.
const valueMax = 64 << 20

// valueArg is the second argument, or all of standard input (C29).
func (s *session) valueArg(args []string) (string, error) {
	if len(args) > 1 {
		return args[1], nil
	}
	if prompt.IsTerminal(s.In) {
		s.tell("reading the value from the terminal; end it with Ctrl-D")
	}
	b, err := io.ReadAll(io.LimitReader(s.In, valueMax+1))
	switch {
	case err != nil:
		return "", usage("the value cannot be read: %w", err)
	case len(b) == 0:
		return "", usage("value required")
	case len(b) > valueMax:
		return "", usage("the value has more than %d bytes", valueMax)
	}
	return string(b), nil
}

// ttlFlag is --ttl. None and 0 are no TTL; a negative number is refused (C30).
type ttlFlag struct{ seconds int64 }

func (t *ttlFlag) add(f *pflag.FlagSet) {
	f.Int64Var(&t.seconds, "ttl", 0, "time until the key is deleted, in seconds; 0: none")
}

const ttlMax = int64(1<<63-1) / int64(time.Second)

func (t *ttlFlag) duration() (time.Duration, error) {
	if t.seconds < 0 || t.seconds > ttlMax {
		return 0, usage("--ttl is %d, allowed are 0 to %d", t.seconds, ttlMax)
	}
	return time.Duration(t.seconds) * time.Second, nil
}

// condition is a pair of flags for a value and an index that a key must have.
type condition struct {
	valueName, indexName string
	value                string
	index                uint64
	flags                *pflag.FlagSet
}

func (c *condition) add(f *pflag.FlagSet, valueName, indexName string) {
	c.valueName, c.indexName, c.flags = valueName, indexName, f
	f.StringVar(&c.value, valueName, "", "value that the key must have")
	f.Uint64Var(&c.index, indexName, 0, "modified index that the key must have")
}

// check refuses what servers take for no condition (C31).
func (c *condition) check() error {
	switch {
	case c.flags.Changed(c.valueName) && c.value == "":
		return usage("--%s is empty: servers cannot compare with an empty value", c.valueName)
	case c.flags.Changed(c.indexName) && c.index == 0:
		return usage("--%s is 0: no key has that index", c.indexName)
	}
	return nil
}

func (s *session) getCommand() *cobra.Command {
	var o client.GetOptions
	c := &cobra.Command{Use: "get KEY", Short: "Print the value of a key", Args: atMost(1)}
	c.Flags().BoolVar(&o.Sorted, "sort", false, "sort the answer")
	c.Flags().BoolVarP(&o.Quorum, "quorum", "q", false, "read what a majority has agreed on, not what the asked member knows")
	c.RunE = func(c *cobra.Command, args []string) error {
		key, err := keyArg(args)
		if err != nil {
			return err
		}
		return s.run(c.Context(), func(ctx context.Context, cl *client.Client) error {
			r, err := cl.Get(ctx, key, o)
			if err != nil {
				return err
			}
			if r.Node == nil {
				return errNoNode
			}
			if r.Node.Dir {
				return plain(exitUsage, "%s: is a directory", r.Node.Key) // C32
			}
			return s.event(r)
		})
	}
	return c
}

var errNoNode = errors.New("the answer has no node")

func (s *session) lsCommand() *cobra.Command {
	var o client.GetOptions
	var slash bool
	c := &cobra.Command{Use: "ls [KEY]", Short: "List the keys in a directory", Args: atMost(1)}
	c.Flags().BoolVar(&o.Sorted, "sort", false, "sort the keys")
	c.Flags().BoolVarP(&o.Recursive, "recursive", "r", false, "list all keys below it")
	c.Flags().BoolVarP(&slash, "p", "p", false, "append a slash to directories")
	c.Flags().BoolVarP(&o.Quorum, "quorum", "q", false, "read what a majority has agreed on, not what the asked member knows")
	c.RunE = func(c *cobra.Command, args []string) error {
		key := "/"
		if len(args) > 0 {
			key = keyOf(args[0])
		}
		return s.run(c.Context(), func(ctx context.Context, cl *client.Client) error {
			r, err := cl.Get(ctx, key, o)
			if err != nil {
				return err
			}
			if r.Node == nil {
				return errNoNode
			}
			return s.list("KEY", listed(nil, r.Node, slash))
		})
	}
	return c
}

// listed are the keys below a directory, parents before their children; of a file its own (C33).
func listed(keys []string, n *client.Node, slash bool) []string {
	if !n.Dir {
		return append(keys, n.Key)
	}
	for _, child := range n.Nodes {
		switch {
		case child.Dir && slash:
			keys = append(keys, child.Key+"/")
		case child.Dir:
			keys = append(keys, child.Key)
		}
		keys = listed(keys, child, slash)
	}
	return keys
}

type writeFunc func(ctx context.Context, c *client.Client, key, value string, ttl time.Duration) (*client.Response, error)

// write is the body of the commands that set a value.
func (s *session) write(c *cobra.Command, args []string, ttl ttlFlag, do writeFunc) error {
	lifetime, err := ttl.duration()
	if err != nil {
		return err
	}
	key, err := keyArg(args)
	if err != nil {
		return err
	}
	value, err := s.valueArg(args)
	if err != nil {
		return err
	}
	return s.run(c.Context(), func(ctx context.Context, cl *client.Client) error {
		r, err := do(ctx, cl, key, value, lifetime)
		if err != nil {
			return err
		}
		return s.event(r)
	})
}

func (s *session) setCommand() *cobra.Command {
	var ttl ttlFlag
	var swap condition
	c := &cobra.Command{Use: "set KEY [VALUE]", Short: "Set the value of a key; without VALUE to all of standard input", Args: atMost(2)}
	ttl.add(c.Flags())
	swap.add(c.Flags(), "swap-with-value", "swap-with-index")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := swap.check(); err != nil {
			return err
		}
		return s.write(c, args, ttl, func(ctx context.Context, cl *client.Client, key, value string, ttl time.Duration) (*client.Response, error) {
			return cl.Set(ctx, key, value, client.SetOptions{TTL: ttl, PrevValue: swap.value, PrevIndex: swap.index})
		})
	}
	return c
}

func (s *session) mkCommand() *cobra.Command {
	var ttl ttlFlag
	var inOrder bool
	c := &cobra.Command{Use: "mk KEY [VALUE]", Short: "Make a key that must not exist yet", Args: atMost(2)}
	ttl.add(c.Flags())
	c.Flags().BoolVar(&inOrder, "in-order", false, "make a key in the directory KEY, with a name that is greater than those before")
	c.RunE = func(c *cobra.Command, args []string) error {
		return s.write(c, args, ttl, func(ctx context.Context, cl *client.Client, key, value string, ttl time.Duration) (*client.Response, error) {
			if inOrder {
				return cl.CreateInOrder(ctx, key, value, ttl)
			}
			return cl.Set(ctx, key, value, client.SetOptions{TTL: ttl, PrevExist: client.Never})
		})
	}
	return c
}

func (s *session) updateCommand() *cobra.Command {
	var ttl ttlFlag
	c := &cobra.Command{Use: "update KEY [VALUE]", Short: "Set the value of a key that must exist", Args: atMost(2)}
	ttl.add(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		return s.write(c, args, ttl, func(ctx context.Context, cl *client.Client, key, value string, ttl time.Duration) (*client.Response, error) {
			return cl.Set(ctx, key, value, client.SetOptions{TTL: ttl, PrevExist: client.Must})
		})
	}
	return c
}

// dirCommand is a command that makes or changes a directory.
func (s *session) dirCommand(name, short string, do func(context.Context, *client.Client, string, time.Duration) (*client.Response, error)) *cobra.Command {
	var ttl ttlFlag
	c := &cobra.Command{Use: name + " KEY", Short: short, Args: atMost(1)}
	ttl.add(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		key, err := keyArg(args)
		if err != nil {
			return err
		}
		lifetime, err := ttl.duration()
		if err != nil {
			return err
		}
		return s.run(c.Context(), func(ctx context.Context, cl *client.Client) error {
			r, err := do(ctx, cl, key, lifetime)
			if err != nil {
				return err
			}
			return s.directory(r)
		})
	}
	return c
}

func makeDir(ctx context.Context, c *client.Client, key string, ttl time.Duration) (*client.Response, error) {
	return c.Set(ctx, key, "", client.SetOptions{Dir: true, TTL: ttl, PrevExist: client.Never})
}

// updateDir refuses a file, which the server would make a directory (C34).
func updateDir(ctx context.Context, c *client.Client, key string, ttl time.Duration) (*client.Response, error) {
	r, err := c.Get(ctx, key, client.GetOptions{Quorum: true})
	if err != nil {
		return nil, err
	}
	if r.Node != nil && !r.Node.Dir {
		return nil, &client.Error{Code: client.ErrNotFile, Message: "Not a file", Cause: key, Index: r.Index}
	}
	return c.Set(ctx, key, "", client.SetOptions{Dir: true, TTL: ttl, PrevExist: client.Must})
}

// setDir makes a directory, or sets the TTL of one that exists (C34). Another client may make or delete it meanwhile.
func setDir(ctx context.Context, c *client.Client, key string, ttl time.Duration) (*client.Response, error) {
	for {
		r, err := makeDir(ctx, c, key, ttl)
		if !errors.Is(err, client.ErrNodeExist) {
			return r, err
		}
		if r, err = updateDir(ctx, c, key, ttl); !errors.Is(err, client.ErrKeyNotFound) {
			return r, err
		}
	}
}

func (s *session) rmCommand() *cobra.Command {
	var o client.DeleteOptions
	var with condition
	c := &cobra.Command{Use: "rm KEY", Short: "Delete a key", Args: atMost(1)}
	c.Flags().BoolVar(&o.Dir, "dir", false, "delete an empty directory, too")
	c.Flags().BoolVarP(&o.Recursive, "recursive", "r", false, "delete a directory with all keys below it")
	with.add(c.Flags(), "with-value", "with-index")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := with.check(); err != nil {
			return err
		}
		o.PrevValue, o.PrevIndex = with.value, with.index
		return s.remove(c, args, o)
	}
	return c
}

func (s *session) rmdirCommand() *cobra.Command {
	c := &cobra.Command{Use: "rmdir KEY", Short: "Delete an empty directory, or a key", Args: atMost(1)}
	c.RunE = func(c *cobra.Command, args []string) error { return s.remove(c, args, client.DeleteOptions{Dir: true}) }
	return c
}

func (s *session) remove(c *cobra.Command, args []string, o client.DeleteOptions) error {
	key, err := keyArg(args)
	if err != nil {
		return err
	}
	return s.run(c.Context(), func(ctx context.Context, cl *client.Client) error {
		r, err := cl.Delete(ctx, key, o)
		if err != nil {
			return err
		}
		if r.Node != nil && r.Node.Dir {
			return s.directory(r)
		}
		return s.event(r)
	})
}
