package snap

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// brokenKept is how many broken files are kept for people to look at. It is bounded, so that a fault that spoils each
// snapshot does not fill the disk.
const brokenKept = 2

// Quarantine puts aside a snapshot that cannot be read or used: its file gets the suffix ".broken", and List omits it. The
// newest few of these files are kept.
func (d *Dir) Quarantine(m Meta) error { return d.putAside(d.Path(m), m) }

// putAside puts aside the file of this name.
func (d *Dir) putAside(name string, m Meta) error {
	if err := d.fs.Rename(name, d.Path(m)+brokenSuffix); err != nil {
		return fmt.Errorf("snap: put aside: %w", err)
	}
	names, err := d.fs.List(d.dir)
	if err != nil {
		return fmt.Errorf("snap: list %s: %w", d.dir, err)
	}
	broken := slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, suffix+brokenSuffix) })
	for _, name := range broken[:max(0, len(broken)-brokenKept)] {
		if err := d.fs.Remove(filepath.Join(d.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("snap: remove a file that was put aside: %w", err)
		}
	}
	return d.fs.SyncDir(d.dir)
}
