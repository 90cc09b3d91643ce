package subtree

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/ctl/command"
)

// transfer is one copy or move of keys.
type transfer struct {
	*tool
	recursive bool
	overwrite bool
	remove    bool // of what was copied

	made    []pair
	changed int // keys that others changed meanwhile
}

// pair is a source as it was read, and its copy as it was written.
type pair struct{ from, to *client.Node }

func (t *tool) copyCommand() *cobra.Command {
	return t.transferCommand(false, "cp FROM TO", "Copy a key or a subtree",
		"Copy a key or, with -r, a subtree, with the rest of each TTL. TO is the new name itself. Hidden keys are left out.\n"+
			"A key that exists at TO is an error; with --overwrite it is replaced, but only as it was read.")
}

func (t *tool) moveCommand() *cobra.Command {
	return t.transferCommand(true, "mv FROM TO", "Move a key or a subtree",
		"Move a key or, with -r, a subtree: each key is copied, and then deleted if it is still what was copied. A key that\n"+
			"somebody changes meanwhile stays at FROM, its copy is taken away, and the exit status is 4. Readers see the keys at\n"+
			"both places for a moment. Hidden keys stay.")
}

func (t *tool) transferCommand(remove bool, use, short, long string) *cobra.Command {
	var recursive, overwrite bool
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: countArgs(2, 2)}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "a directory with all keys below it")
	c.Flags().BoolVar(&overwrite, "overwrite", false, "replace keys that exist")
	c.RunE = func(c *cobra.Command, args []string) error {
		from, to := keyOf(args[0]), keyOf(args[1])
		if from == "/" || to == "/" {
			return command.Usage("the root can be neither FROM nor TO")
		}
		if from == to || strings.HasPrefix(to, from+"/") || strings.HasPrefix(from, to+"/") {
			return command.Usage("%s and %s are not beside each other", from, to)
		}
		work := &transfer{tool: t, recursive: recursive, overwrite: overwrite, remove: remove}
		return t.RunLong(c.Context(), func(ctx context.Context, cl *client.Client) error { return work.run(ctx, cl, from, to) })
	}
	return c
}

func (w *transfer) run(ctx context.Context, c *client.Client, from, to string) error {
	top, err := read(ctx, c, from)
	if err != nil {
		return err
	}
	if top.Dir && !w.recursive {
		return command.Usage("%s: is a directory; --recursive takes it with all below it", from)
	}
	if err := walk(top, func(place string, n *client.Node) error { return w.copy(ctx, c, n, to+place) }); err != nil {
		if len(w.made) > 0 {
			w.Tell("%s to %s before this failed; nothing was deleted", counted(len(w.made), "node was copied", "nodes were copied"), to)
		}
		return err
	}
	if w.remove {
		if err := w.removeAll(ctx, c); err != nil {
			return err
		}
	}
	if w.Format() == command.FormatJSON {
		if err := w.JSON(map[string]int{"copied": len(w.made) - w.changed, "changedMeanwhile": w.changed}); err != nil {
			return err
		}
	}
	if w.changed > 0 {
		return command.Exit(exitConflict)
	}
	return nil
}

// copy writes one node.
func (w *transfer) copy(ctx context.Context, c *client.Client, n *client.Node, to string) error {
	o := client.SetOptions{TTL: ttlOf(n), Dir: n.Dir, PrevExist: client.Never}
	r, err := c.Set(ctx, to, n.Value, o)
	if errors.Is(err, client.ErrNodeExist) && w.overwrite {
		r, err = w.replace(ctx, c, n, to)
	}
	if err != nil {
		return err
	}
	w.made = append(w.made, pair{from: n, to: r.Node})
	return nil
}

// replace writes a node in the place of another one: a directory stays, a file is swapped as it was read.
func (w *transfer) replace(ctx context.Context, c *client.Client, n *client.Node, to string) (*client.Response, error) {
	r, err := c.Get(ctx, to, client.GetOptions{Quorum: true})
	switch {
	case err != nil:
		return nil, err
	case r.Node == nil:
		return nil, errNoNode
	case r.Node.Dir != n.Dir:
		return nil, fmt.Errorf("%s and %s are a directory and a key", n.Key, to)
	case n.Dir:
		return &client.Response{}, nil
	}
	return c.Set(ctx, to, n.Value, client.SetOptions{TTL: ttlOf(n), PrevIndex: r.Node.ModifiedIndex})
}

// removeAll deletes what was copied, children first.
func (w *transfer) removeAll(ctx context.Context, c *client.Client) error {
	for _, p := range slices.Backward(w.made) {
		o := client.DeleteOptions{PrevIndex: p.from.ModifiedIndex}
		if p.from.Dir {
			o = client.DeleteOptions{Dir: true} // only if it is empty
		}
		_, err := c.Delete(ctx, p.from.Key, o)
		switch {
		case err == nil, p.from.Dir && errors.Is(err, client.ErrKeyNotFound):
		case p.from.Dir && errors.Is(err, client.ErrDirNotEmpty):
			w.Tell("%s stays: it has keys that were not copied", p.from.Key)
		case errors.Is(err, client.ErrCompareFailed), errors.Is(err, client.ErrKeyNotFound), errors.Is(err, client.ErrNotFile):
			w.changed++
			w.Tell("%s has changed meanwhile, and was not moved", p.from.Key)
			if err := w.takeBack(ctx, c, p); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// takeBack deletes a copy whose source has changed, if it is still that copy. One that replaced another key stays, and is told of.
func (w *transfer) takeBack(ctx context.Context, c *client.Client, p pair) error {
	if p.to == nil {
		return nil
	}
	if w.overwrite && p.to.CreatedIndex != p.to.ModifiedIndex {
		w.Tell("%s is the copy of its former value", p.to.Key)
		return nil
	}
	_, err := c.Delete(ctx, p.to.Key, client.DeleteOptions{PrevIndex: p.to.ModifiedIndex})
	if errors.Is(err, client.ErrCompareFailed) || errors.Is(err, client.ErrKeyNotFound) {
		w.Tell("%s, its copy, has changed, too, and stays", p.to.Key)
		return nil
	}
	return err
}
