// Package datadir is what lies on a member's disk, and what it means.
//
//	<data-dir>/lock             one process at a time
//	<data-dir>/member/identity  who the member is, for people and for a start that finds no log
//	<data-dir>/member/wal/      the log: records of entries and of what raft must not forget
//	<data-dir>/member/snap/     states, each up to an entry of the log
//
// Recover makes of it what a member runs on: the newest snapshot that can be
// loaded, and the log behind it, applied as far as it is known to be committed
// (recover.go, replay.go). A directory that is empty, or whose first start was
// interrupted, begins anew; --force-new-cluster makes a new one beside the old one
// (newcluster.go). What is damaged is refused with the file, the reason and what to
// do, and nothing is changed.
package datadir

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"canopy/etcdserver/replica"
	"canopy/internal/disk"
)

// Dir knows where a member's files are (B1).
type Dir struct {
	FS   disk.FS
	Root string
	WAL  string // may be elsewhere: --wal-dir
}

// Member is the directory of the member's files.
func (d Dir) Member() string { return filepath.Join(d.Root, "member") }

// Snap is the directory of its snapshots.
func (d Dir) Snap() string { return filepath.Join(d.Root, "member", "snap") }

// UsualWAL is the directory of its log, unless --wal-dir names another one.
func (d Dir) UsualWAL() string { return filepath.Join(d.Root, "member", "wal") }

// Lock is the file that a running process has locked.
func (d Dir) Lock() string { return filepath.Join(d.Root, "lock") }

// Identity is the file that says who the member is.
func (d Dir) Identity() string { return filepath.Join(d.Root, "member", "identity") }

// Removed is the file of a member that was removed from its cluster.
func (d Dir) Removed() string { return filepath.Join(d.Root, "member", "removed") }

// Inconsistent is the file of a member whose state was not that of the majority.
func (d Dir) Inconsistent() string { return filepath.Join(d.Root, "member", "inconsistent") }

// Prepare makes, checks and locks the data directory.
func (d Dir) Prepare(logger Logger) (io.Closer, error) {
	if err := d.mend(); err != nil {
		return nil, &Error{Dir: d.Root, Reason: "cannot be mended after a --force-new-cluster that was cut short", Err: err}
	}
	for _, dir := range []string{d.Root, d.Member(), d.Snap(), d.WAL} {
		if err := d.FS.MkdirAll(dir); err != nil {
			return nil, &Error{Dir: d.Root, Reason: "cannot make " + dir, Err: err}
		}
	}
	for _, dir := range []string{d.Root, d.WAL} {
		tightened, err := d.FS.Secure(dir)
		if err != nil {
			return nil, &Error{Dir: d.Root, Reason: "others can read " + dir, Err: err, Advice: "chmod 0700 it"}
		}
		if tightened {
			logger.Tightened(dir)
		}
	}
	lock, err := d.FS.Lock(d.Lock())
	if err != nil {
		return nil, &Error{Dir: d.Root, Reason: "cannot be locked", Err: err}
	}
	strange, err := d.inspect()
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	logger.Strange(d.Root, strange)
	return lock, nil
}

// Ending is why a member must not run again.
type Ending string

// The endings.
const (
	NotEnded   Ending = ""
	WasRemoved Ending = "removed"      // from its cluster (M45)
	WasDamaged Ending = "inconsistent" // its state was not that of the majority (R12)
)

// Ended tells whether the directory is that of a member that must not run again,
// and which one, if that can be read.
func (d Dir) Ended() (why Ending, self replica.ID, err error) {
	names, err := d.List(d.Member())
	if err != nil {
		return NotEnded, 0, err
	}
	switch {
	case slices.Contains(names, filepath.Base(d.Removed())):
		why = WasRemoved
	case slices.Contains(names, filepath.Base(d.Inconsistent())):
		why = WasDamaged
	default:
		return NotEnded, 0, nil
	}
	file, err := readIdentity(d)
	if err != nil || file == nil {
		return why, 0, err
	}
	if id, err := strconv.ParseUint(file.Member, 16, 64); err == nil {
		self = replica.ID(id)
	}
	return why, self, nil
}

// foreign is what other servers leave in a data directory, and what to say.
var foreign = []struct {
	names  []string // all of them are there
	reason string
	advice string // "": that it can be imported
}{
	{[]string{"conf", "log"}, "this is a 0.4 data directory", ""},
	{[]string{"standby_info"}, "this is the data directory of a 0.4 standby", "it holds no data; import that of a peer, or choose another --data-dir"},
	{[]string{"wal", "snap"}, "this is an etcd 2.0 data directory", ""},
	{[]string{"member", "proxy"}, "both member and proxy directories exist", "remove the one that does not belong here (B5)"},
}

// importLine is what to type to bring the data of etcd over (B64, B66, B68).
func (d Dir) importLine() string {
	line := "canopy ctl import-dir --data-dir " + d.Root
	if d.WAL != d.UsualWAL() && d.WAL != "" {
		line += " --wal-dir " + d.WAL
	}
	return fmt.Sprintf("nothing was changed; to bring its keys over, type: %s --out keys.canopy && canopy ctl restore keys.canopy --name NAME --data-dir NEW_DIR --initial-cluster NAME=http://HOST:2380 (docs/migration.md)", line)
}

// inspect refuses directories that are not ours to use, and names entries that
// do not belong there (B4).
func (d Dir) inspect() (strange []string, err error) {
	names, err := d.List(d.Root)
	if err != nil {
		return nil, err
	}
	for _, f := range foreign {
		if containsAll(names, f.names) {
			return nil, &Error{Dir: d.Root, Reason: f.reason, Advice: cmp.Or(f.advice, d.importLine())}
		}
	}
	inSnap, err := d.List(d.Snap())
	if err != nil {
		return nil, err
	}
	if etcd, err := d.holdsEtcdLog(); err != nil || etcd {
		return nil, &Error{Dir: d.Root, Reason: "its log was written by etcd", Err: err, Advice: d.importLine()}
	}
	if slices.Contains(inSnap, "db") {
		return nil, &Error{Dir: d.Root, Reason: "it was used by an etcd with the v3 store (member/snap/db)", Advice: d.importLine()}
	}
	for _, name := range names {
		kept := strings.HasPrefix(name, "member.lost-") || strings.HasPrefix(name, "member.unfinished-")
		if !kept && !slices.Contains([]string{"member", "proxy", "fixtures", "lock", "lost+found"}, name) {
			strange = append(strange, name)
		}
	}
	return strange, nil
}

// holdsEtcdLog recognises the first record of an etcd 2.x or 3.x segment: a
// length of eight bytes, then a checksum record, which protobuf begins with
// field 1, type 4 (B69).
func (d Dir) holdsEtcdLog() (bool, error) {
	names, err := d.List(d.WAL)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".wal") {
			continue
		}
		f, err := d.FS.Open(filepath.Join(d.WAL, name))
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

// List gives the names in a directory, none if it is not there.
func (d Dir) List(dir string) ([]string, error) {
	names, err := d.FS.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{Dir: d.Root, Reason: "cannot list " + dir, Err: err}
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
