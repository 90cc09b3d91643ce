// Package subtree is the commands for whole subtrees: tree, cp, mv, edit, diff and grep. They change keys only by compare-and-swap,
// compare-and-delete or creation, so that nothing is lost that others change at the same time.
package subtree

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/ctl/command"
)

// exitConflict is the status when a key has changed meanwhile, and for other failures of requests.
const exitConflict = 4

// tool is what the commands share.
type tool struct{ *command.Host }

// Commands are all of them.
func Commands(h *command.Host) []*cobra.Command {
	t := &tool{h}
	return []*cobra.Command{t.treeCommand(), t.copyCommand(), t.moveCommand(), t.editCommand(), t.diffCommand(), t.grepCommand()}
}

func keyOf(text string) string { return path.Clean("/" + text) }

// countArgs refuses command lines with another number of arguments.
func countArgs(least, most int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return command.Usage("key required")
		case len(args) > most:
			return command.Usage("too many arguments")
		}
		return nil
	}
}

var errNoNode = errors.New("the answer has no node")

// read gives a key with all below it, as a majority agrees on it, sorted. Hidden keys are not in it.
func read(ctx context.Context, c *client.Client, key string) (*client.Node, error) {
	r, err := c.Get(ctx, key, client.GetOptions{Recursive: true, Sorted: true, Quorum: true})
	if err != nil {
		return nil, err
	}
	if r.Node == nil {
		return nil, errNoNode
	}
	return r.Node, nil
}

// walk calls each for a node and all below it, parents first, with their place below the first one: "" or "/a/b".
func walk(n *client.Node, each func(place string, n *client.Node) error) error {
	top := strings.TrimSuffix(n.Key, "/")
	var visit func(*client.Node) error
	visit = func(n *client.Node) error {
		place := strings.TrimSuffix(strings.TrimPrefix(n.Key, top), "/")
		if err := each(place, n); err != nil {
			return err
		}
		for _, below := range n.Nodes {
			if err := visit(below); err != nil {
				return err
			}
		}
		return nil
	}
	return visit(n)
}

// files are all files from a node down, by their place.
func files(n *client.Node) map[string]*client.Node {
	all := map[string]*client.Node{}
	_ = walk(n, func(place string, n *client.Node) error { // each never fails
		if !n.Dir {
			all[place] = n
		}
		return nil
	})
	return all
}

// placesOf are the places of several listings in order.
func placesOf(listings ...map[string]*client.Node) []string {
	all := map[string]bool{}
	for _, l := range listings {
		for place := range l {
			all[place] = true
		}
	}
	sorted := make([]string, 0, len(all))
	for place := range all {
		sorted = append(sorted, place)
	}
	slices.Sort(sorted)
	return sorted
}

// ttlOf is the rest of a node's time; 0: it has no limit.
func ttlOf(n *client.Node) time.Duration {
	if n.Expiration == nil {
		return 0
	}
	return max(time.Duration(n.TTL)*time.Second, time.Second)
}

// shortened is the first line of a value, as far as it fits.
func shortened(value string) string {
	const most = 100
	first, _, more := strings.Cut(value, "\n")
	if runes := []rune(first); len(runes) > most {
		first, more = string(runes[:most]), true
	}
	first = command.Plain(first)
	if more {
		first += "…"
	}
	return first
}
