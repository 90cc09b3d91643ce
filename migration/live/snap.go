package live

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"canopy/client"
	"canopy/migration/etcddir"
	"canopy/store"
	"canopy/store/tree"
)

// SnapOptions say which keys of a snapshot are written.
type SnapOptions struct {
	Hidden  []string
	Clients int
}

// ImportSnap writes the keys of a state as JSON to a running cluster (G63). Hidden keys are taken if they are named. It waits for
// every key.
func ImportSnap(ctx context.Context, to *client.Client, name string, o SnapOptions) (written int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	state, err := etcddir.LoadState(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	parts := state.Parts()
	parts.Time = 0 // deadlines are times of day
	view := store.Assemble(parts, store.Options{}).View()
	var count atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Clients)
	err = view.Walk(store.Key{}, func(key string, n *tree.Node) error {
		if strings.Contains(key, "/_") && !slices.ContainsFunc(o.Hidden, func(h string) bool { return key == h || strings.HasPrefix(key, strings.TrimSuffix(h, "/")+"/") }) {
			return nil
		}
		set := client.SetOptions{Dir: n.Dir() != nil}
		if at := view.Expiration(n); at != 0 {
			if set.TTL = time.Until(time.Unix(0, int64(at))); set.TTL <= 0 {
				return nil
			}
		}
		put := func() error {
			_, err := to.Set(ctx, key, n.Value(), set)
			if set.Dir && errors.Is(err, client.ErrNotFile) {
				err = nil // the directory is there
			}
			if err == nil {
				count.Add(1)
			}
			return err
		}
		if set.Dir {
			return put() // before what is in it
		}
		group.Go(put)
		return ctx.Err()
	})
	err = errors.Join(group.Wait(), err) // every key, before they are counted
	return count.Load(), err
}
