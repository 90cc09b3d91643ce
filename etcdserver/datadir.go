package etcdserver

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"canopy/internal/disk"
)

// dataDir knows where a member's files are (B1).
type dataDir struct {
	fs   disk.FS
	root string
	wal  string // may be elsewhere: --wal-dir
}

func (d dataDir) member() string   { return filepath.Join(d.root, "member") }
func (d dataDir) snap() string     { return filepath.Join(d.root, "member", "snap") }
func (d dataDir) usualWAL() string { return filepath.Join(d.root, "member", "wal") }
func (d dataDir) lock() string     { return filepath.Join(d.root, "lock") }
func (d dataDir) identity() string { return filepath.Join(d.root, "member", "identity") }
func (d dataDir) removed() string  { return filepath.Join(d.root, "member", "removed") }

// inconsistent is the note of a member whose state was not that of the majority.
func (d dataDir) inconsistent() string { return filepath.Join(d.root, "member", "inconsistent") }

// refuseEnded refuses the directory of a member that must not run again: it was
// removed (M45), or its state is damaged (R12).
func (d dataDir) refuseEnded() error {
	names, err := d.list(d.member())
	if err != nil {
		return err
	}
	gone := slices.Contains(names, filepath.Base(d.removed()))
	damaged := slices.Contains(names, filepath.Base(d.inconsistent()))
	if !gone && !damaged {
		return nil
	}
	note, err := readIdentityNote(d)
	if err != nil {
		return err
	}
	var self ID
	if note != nil {
		if id, err := strconv.ParseUint(note.Member, 16, 64); err == nil {
			self = ID(id)
		}
	}
	if gone {
		return &RemovedError{Member: self, Dir: d.root}
	}
	return &InconsistentError{Member: self, Dir: d.root}
}

// foreign is what other servers leave in a data directory, and what to say.
var foreign = []struct {
	names  []string // all of them are there
	reason string
	advice string
}{
	{[]string{"conf", "log", "snapshot"}, "this is a 0.4 data directory", "export its keys from a running 0.4 server and set them here (B64)"},
	{[]string{"standby_info"}, "this is the data directory of a 0.4 standby", "choose another --data-dir (B64)"},
	{[]string{"wal", "snap"}, "this is an etcd 2.0 data directory", "choose another --data-dir and copy the keys over HTTP (B66)"},
	{[]string{"member", "proxy"}, "both member and proxy directories exist", "remove the one that does not belong here (B5)"},
}

// inspect refuses directories that are not ours to use, and names entries that
// do not belong there (B4).
func (d dataDir) inspect() (strange []string, err error) {
	names, err := d.list(d.root)
	if err != nil {
		return nil, err
	}
	for _, f := range foreign {
		if containsAll(names, f.names) {
			return nil, &DataDirError{Dir: d.root, Reason: f.reason, Advice: f.advice}
		}
	}
	inSnap, err := d.list(d.snap())
	if err != nil {
		return nil, err
	}
	if slices.Contains(inSnap, "db") {
		return nil, &DataDirError{Dir: d.root, Reason: "it was used by an etcd with the v3 store (member/snap/db)",
			Advice: "choose another --data-dir and copy the keys over HTTP (B70)"}
	}
	if etcd, err := d.holdsEtcdLog(); err != nil || etcd {
		return nil, &DataDirError{Dir: d.root, Reason: "its log was written by etcd", Err: err,
			Advice: "nothing was changed; choose another --data-dir and copy the keys over HTTP (B68)"}
	}
	for _, name := range names {
		kept := strings.HasPrefix(name, "member.lost-") || strings.HasPrefix(name, "member.unfinished-")
		if !kept && !slices.Contains([]string{"member", "proxy", "lock", "lost+found"}, name) {
			strange = append(strange, name)
		}
	}
	return strange, nil
}

// holdsEtcdLog recognises the first record of an etcd 2.x or 3.x segment: a
// length of eight bytes, then a checksum record, which protobuf begins with
// field 1, type 4 (B69).
func (d dataDir) holdsEtcdLog() (bool, error) {
	names, err := d.list(d.wal)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".wal") {
			continue
		}
		f, err := d.fs.Open(filepath.Join(d.wal, name))
		if err != nil {
			return false, err
		}
		var head [10]byte
		n, err := f.ReadAt(head[:], 0)
		if err := errors.Join(ignoreEOF(err), f.Close()); err != nil {
			return false, err
		}
		return n == len(head) && head[8] == 0x08 && head[9] == 0x04, nil
	}
	return false, nil
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// list gives the names in a directory, none if it is not there.
func (d dataDir) list(dir string) ([]string, error) {
	names, err := d.fs.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &DataDirError{Dir: d.root, Reason: "cannot list " + dir, Err: err}
	}
	return names, nil
}

func containsAll(names, wanted []string) bool {
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			return false
		}
	}
	return true
}
