// Package election chooses one of several candidates. They stand in the queue of a lock, each with a value; the first one leads,
// and everybody can read its value. What package lock says of its limits holds here, too.
package election

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"canopy/client"
	"canopy/client/lock"
)

// ErrNoLeader is for an election without candidates.
var ErrNoLeader = errors.New("election: nobody leads")

// Leader is who leads, as of an index.
type Leader struct {
	Key   string
	Value string
	Token uint64 // greater than that of all leaders before
	Index uint64
}

// Campaign waits until this candidate leads, or ctx ends. Releasing the lock resigns.
func Campaign(ctx context.Context, c *client.Client, dir, value string, o lock.Options) (*lock.Lock, error) {
	o.Value = value
	return lock.Acquire(ctx, c, dir, o)
}

// Current gives the leader that a majority agrees on; ErrNoLeader if there is no candidate.
func Current(ctx context.Context, c *client.Client, dir string) (Leader, error) {
	found, err := c.Get(ctx, dir, client.GetOptions{Quorum: true})
	var said *client.Error
	if errors.Is(err, client.ErrKeyNotFound) && errors.As(err, &said) {
		return Leader{Index: said.Index}, ErrNoLeader
	}
	if err != nil {
		return Leader{}, err
	}
	if found.Node == nil {
		return Leader{Index: found.Index}, ErrNoLeader
	}
	candidates := slices.DeleteFunc(found.Node.Nodes, func(n *client.Node) bool { return n.Dir })
	if len(candidates) == 0 {
		return Leader{Index: found.Index}, ErrNoLeader
	}
	first := slices.MinFunc(candidates, func(a, b *client.Node) int { return cmp.Compare(a.CreatedIndex, b.CreatedIndex) })
	return Leader{Key: first.Key, Value: first.Value, Token: first.CreatedIndex, Index: found.Index}, nil
}

// Observe calls each for the present leader and for each one after it, until it returns false or ctx ends.
func Observe(ctx context.Context, c *client.Client, dir string, each func(Leader) bool) error {
	var last uint64
	for {
		leader, err := Current(ctx, c, dir)
		switch {
		case errors.Is(err, ErrNoLeader):
		case err != nil:
			return err
		case leader.Token != last:
			last = leader.Token
			if !each(leader) {
				return nil
			}
		}
		watcher := c.Watch(dir, client.WatchOptions{Recursive: true, After: leader.Index})
		if _, err := watcher.Next(ctx); err != nil && !errors.Is(err, client.ErrIndexCleared) {
			return err
		}
	}
}
