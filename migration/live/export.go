// Package live brings keys into running clusters and out of them: as text (G61, G62), from old snapshots (G63), and as a mirror
// that follows a cluster until it is switched (G60).
package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"canopy/client"
	"canopy/etcdserver/replica"
	"canopy/migration/archive"
	"canopy/migration/text"
	"canopy/store"
	"canopy/store/tree"
)

// ExportOptions say what is exported.
type ExportOptions struct {
	Key     string
	Indexes bool
	Hidden  bool
	Note    func(string) // is told what the file cannot hold
}

// Export writes keys of a running cluster, as of one index. From a canopy it asks for a backup, which has each byte; others, and
// users who are not root, get a listing.
func Export(ctx context.Context, from *client.Client, w io.Writer, o ExportOptions) error {
	dir, err := os.MkdirTemp("", "canopy-export-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file, err := archive.Put(filepath.Join(dir, "state"), func(out io.Writer) error {
		b, err := from.Backup(ctx)
		if err != nil {
			return &noBackup{err}
		}
		defer b.Close()
		_, err = archive.Copy(out, b)
		return err
	})
	var none *noBackup
	if errors.As(err, &none) {
		o.Note(fmt.Sprintf("no backup can be had (%v): hidden keys are left out, and bytes that are not UTF-8 become U+FFFD", none.err))
		return exportListing(ctx, from, w, o)
	}
	if err != nil {
		return err
	}
	return ExportFile(file, w, o)
}

type noBackup struct{ err error }

func (e *noBackup) Error() string { return e.err.Error() }

// ExportFile writes keys of a backup.
func ExportFile(file *archive.File, w io.Writer, o ExportOptions) error {
	key, err := store.ParseKey(o.Key)
	if err != nil {
		return err
	}
	var state *replica.State
	err = file.Read(func(r io.Reader) (err error) {
		state, _, err = replica.Load(r, file.Summary.Cluster, store.Options{})
		return err
	})
	if err != nil {
		return err
	}
	view := state.Store.View()
	h := text.Header{Root: key.String()}
	if o.Indexes {
		h.Index = uint64(view.Index())
	}
	out, err := text.NewWriter(w, h)
	if err != nil {
		return err
	}
	below := ""
	err = view.Walk(key, func(path string, n *tree.Node) error {
		if !o.Hidden && n.Name() != "" && n.Name()[0] == '_' && path != key.String() {
			below = path + "/"
			return nil
		}
		if below != "" && strings.HasPrefix(path, below) {
			return nil
		}
		one := text.Node{Key: path, Value: n.Value(), Dir: n.Dir() != nil, Created: uint64(n.Created()), Modified: uint64(n.Modified())}
		if at := view.Expiration(n); at != 0 {
			one.Expiration = time.Unix(0, int64(at))
		}
		return out.Add(one)
	})
	if err != nil {
		return err
	}
	return out.Close()
}

func exportListing(ctx context.Context, from *client.Client, w io.Writer, o ExportOptions) error {
	key, err := store.ParseKey(o.Key)
	if err != nil {
		return err
	}
	r, err := from.Get(ctx, key.String(), client.GetOptions{Recursive: true, Sorted: true, Quorum: true})
	if err != nil {
		return err
	}
	h := text.Header{Root: key.String()}
	if o.Indexes {
		h.Index = r.Index
	}
	out, err := text.NewWriter(w, h)
	if err != nil {
		return err
	}
	err = walk(r.Node, func(n *client.Node) error {
		one := text.Node{Key: n.Key, Value: n.Value, Dir: n.Dir, Created: n.CreatedIndex, Modified: n.ModifiedIndex}
		if n.Expiration != nil {
			one.Expiration = *n.Expiration
		}
		return out.Add(one)
	})
	if err != nil {
		return err
	}
	return out.Close()
}

// walk visits all nodes but the root, a directory before its children.
func walk(n *client.Node, visit func(*client.Node) error) error {
	if n.Key != "" && n.Key != "/" {
		if err := visit(n); err != nil {
			return err
		}
	}
	for _, below := range n.Nodes {
		if err := walk(below, visit); err != nil {
			return err
		}
	}
	return nil
}
