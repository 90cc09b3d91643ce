package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"canopy/client"
	"canopy/migration/text"
)

// The modes of an import.
const (
	Create    = "create"    // what exists is an error
	Overwrite = "overwrite" // what exists is replaced
	Merge     = "merge"     // what exists stays
	Replace   = "replace"   // as overwrite; and what is not in the file is deleted
)

// ImportOptions say how keys are written.
type ImportOptions struct {
	Mode   string
	To     string // instead of the root that the file tells; "": that one
	DryRun bool
	Out    io.Writer // of a dry run
	Now    time.Time // past deadlines are before it
}

// Imported counts what an import has done.
type Imported struct{ Written, Skipped, Expired, Deleted uint64 }

// parallel is how many writes are on their way at once.
const parallel = 32

// Import writes the keys of a file. All of the file is checked first. It stops at the first error, which names the line.
func Import(ctx context.Context, to *client.Client, file *os.File, o ImportOptions) (Imported, error) {
	header, _, err := text.Read(file, func(uint64, text.Header, text.Node) error { return nil })
	if err != nil {
		return Imported{}, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return Imported{}, err
	}
	i := &importer{to: to, o: o, root: header.Root, seen: map[string]bool{}}
	if o.DryRun || o.Mode == Replace {
		if i.there, err = listing(ctx, to, i.move(header.Root)); err != nil {
			return i.done, err
		}
	}
	if _, _, err = text.Read(file, func(line uint64, _ text.Header, n text.Node) error { return i.take(ctx, line, n) }); err == nil {
		err = i.flush(ctx)
	}
	if err == nil && o.Mode == Replace {
		err = i.prune(ctx)
	}
	return i.done, err
}

// listing is what is below a key: nodes by key.
func listing(ctx context.Context, c *client.Client, key string) (map[string]*client.Node, error) {
	there := map[string]*client.Node{}
	r, err := c.Get(ctx, key, client.GetOptions{Recursive: true, Quorum: true})
	if errors.Is(err, client.ErrKeyNotFound) {
		return there, nil
	}
	if err != nil {
		return nil, err
	}
	err = walk(r.Node, func(n *client.Node) error {
		there[n.Key] = n
		return nil
	})
	return there, err
}

type importer struct {
	to    *client.Client
	o     ImportOptions
	root  string
	there map[string]*client.Node // nil: not asked for
	seen  map[string]bool         // keys of the file, if some may be deleted
	batch []lined                 // files that wait to be written together
	done  Imported
}

type lined struct {
	line uint64
	node text.Node
}

// move gives a key its new root.
func (i *importer) move(key string) string {
	if i.o.To == "" {
		return key
	}
	rest := strings.TrimPrefix(key, strings.TrimSuffix(i.root, "/"))
	if moved := strings.TrimSuffix(i.o.To, "/") + rest; moved != "" {
		return moved
	}
	return "/"
}

// take takes one node. Files wait for others, directories do not.
func (i *importer) take(ctx context.Context, line uint64, n text.Node) error {
	n.Key = i.move(n.Key)
	if i.o.Mode == Replace {
		i.seen[n.Key] = true
	}
	if !n.Expiration.IsZero() && !n.Expiration.After(i.o.Now) {
		i.done.Expired++
		return nil
	}
	if i.o.DryRun {
		return i.show(n)
	}
	if !n.Dir {
		if i.batch = append(i.batch, lined{line, n}); len(i.batch) < 16*parallel {
			return nil
		}
		return i.flush(ctx)
	}
	if err := i.flush(ctx); err != nil {
		return err
	}
	wrote, err := i.put(ctx, n)
	i.count(wrote)
	return atLine(line, err)
}

func atLine(line uint64, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("line %d: %w", line, err)
}

func (i *importer) count(wrote bool) {
	if wrote {
		i.done.Written++
	} else {
		i.done.Skipped++
	}
}

// flush writes the files that wait.
func (i *importer) flush(ctx context.Context) error {
	wrote := make([]bool, len(i.batch))
	errs := make([]error, len(i.batch))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for n, each := range i.batch {
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			wrote[n], errs[n] = i.put(ctx, each.node)
			errs[n] = atLine(each.line, errs[n])
			return errs[n]
		})
	}
	first := group.Wait()
	for _, w := range wrote {
		i.count(w)
	}
	i.batch = i.batch[:0]
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err // the first line
		}
	}
	return first
}

// put writes a node. It tells whether it did; a mode may leave what is there.
func (i *importer) put(ctx context.Context, n text.Node) (wrote bool, err error) {
	o := client.SetOptions{Dir: n.Dir}
	if !n.Expiration.IsZero() {
		o.TTL = max(time.Until(n.Expiration), time.Second)
	}
	if i.o.Mode == Create || i.o.Mode == Merge || n.Dir {
		o.PrevExist = client.Never
	}
	_, err = i.to.Set(ctx, n.Key, n.Value, o)
	if !errors.Is(err, client.ErrNodeExist) || i.o.Mode == Create {
		return err == nil, err
	}
	if i.o.Mode == Merge {
		return false, nil
	}
	// A directory is there, or a file where one should be.
	o.PrevExist, o.Dir = client.Must, false
	if r, err := i.to.Get(ctx, n.Key, client.GetOptions{}); err != nil || r.Node.Dir {
		if err == nil {
			_, err = i.to.Set(ctx, n.Key, "", o) // sets its TTL, or takes it away
		}
		return err == nil, err
	}
	if _, err := i.to.Delete(ctx, n.Key, client.DeleteOptions{}); err != nil {
		return false, err
	}
	o.PrevExist, o.Dir = client.Never, true
	_, err = i.to.Set(ctx, n.Key, "", o)
	return err == nil, err
}

// show tells what would be done.
func (i *importer) show(n text.Node) error {
	sign := "+"
	if old := i.there[n.Key]; old != nil {
		switch {
		case old.Dir == n.Dir && (n.Dir || old.Value == n.Value):
			return nil
		case i.o.Mode == Create:
			return fmt.Errorf("%s exists", n.Key)
		case i.o.Mode == Merge:
			return nil
		}
		sign = "~"
	}
	i.done.Written++
	_, err := fmt.Fprintf(i.o.Out, "%s %s\n", sign, n.Key)
	return err
}

// prune deletes what is not in the file, the deepest first.
func (i *importer) prune(ctx context.Context) error {
	var gone []string
	for key := range i.there {
		if !i.seen[key] {
			gone = append(gone, key)
		}
	}
	slices.Sort(gone)
	below := ""
	for _, key := range gone {
		if below != "" && strings.HasPrefix(key, below) {
			continue
		}
		i.done.Deleted++
		if i.o.DryRun {
			if _, err := fmt.Fprintf(i.o.Out, "- %s\n", key); err != nil {
				return err
			}
			continue
		}
		if _, err := i.to.Delete(ctx, key, client.DeleteOptions{Recursive: true}); err != nil && !errors.Is(err, client.ErrKeyNotFound) {
			return err
		}
		below = key + "/"
	}
	return nil
}
