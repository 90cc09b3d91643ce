// Package etcddir reads data directories of etcd 2.0 to 3.5, and single files with their state.
//
//	Recognise ──▶ Open ──▶ Source ──Replay──▶ etcdtree.State
//
// Open chooses the snapshot, reads the log once, and tells how far it goes; Replay applies it. Nothing in the directory is
// changed.
package etcddir

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"canopy/migration/etcdwal"
)

// Kind is what lies at a path (G1).
type Kind string

// The kinds.
const (
	Member    Kind = "etcd member"       // 2.0.1 to 3.5
	Early     Kind = "etcd 2.0.0 member" // wal and snap at the top
	Old       Kind = "etcd 0.4 member"
	StateFile Kind = "etcd state file" // JSON
	SnapFile  Kind = "etcd snapshot file"
)

// Place is a directory or file with its kind.
type Place struct {
	Path     string
	Kind     Kind
	WAL      string   // directory of the log
	Snap     string   // directory of the snapshots
	Warnings []string // about what lies beside it
	V3       bool     // there is a v3 backend
}

// RefusedError is a source that cannot be taken.
type RefusedError struct {
	Path   string
	Reason string
}

// Error names the source and the reason.
func (e *RefusedError) Error() string { return e.Path + ": " + e.Reason }

// Recognise tells what lies at a path, in the order of G1. walDir is the log's directory, if it is elsewhere.
func Recognise(path, walDir string) (Place, error) {
	p := Place{Path: path}
	info, err := os.Stat(path)
	if err != nil {
		return p, err
	}
	if !info.IsDir() {
		return p, p.file()
	}
	has := func(names ...string) bool {
		_, err := os.Stat(filepath.Join(append([]string{path}, names...)...))
		return err == nil
	}
	switch {
	case walDir != "" || hasLog(filepath.Join(path, "member", "wal")):
		p.Kind, p.WAL, p.Snap = Member, filepath.Join(path, "member", "wal"), filepath.Join(path, "member", "snap")
		if walDir != "" {
			p.WAL = walDir
		}
	case hasLog(filepath.Join(path, "wal")):
		p.Kind, p.WAL, p.Snap = Early, filepath.Join(path, "wal"), filepath.Join(path, "snap")
	case has("log") && has("conf"):
		p.Kind = Old
	case has("standby_info"):
		return p, p.refuse("this is the directory of a 0.4 standby, which holds no data; import that of a peer")
	case has("proxy"):
		return p, p.refuse("this is the directory of a proxy, which holds no data; import that of a member")
	case has("member", "snap"):
		return p, p.refuse("member/wal holds no log of etcd; give --wal-dir, if the log is elsewhere")
	default:
		return p, p.refuse("this is no data directory of etcd")
	}
	if p.Kind != Old && has("conf") && has("log") {
		p.Warnings = append(p.Warnings, "the 0.4 directory from which it was converted lies beside it, and is ignored")
	}
	if _, err := os.Stat(filepath.Join(p.Snap, "db")); p.Snap != "" && err == nil {
		p.V3 = true
	}
	return p, nil
}

func (p *Place) refuse(reason string) error { return &RefusedError{p.Path, reason} }

func hasLog(dir string) bool {
	log, err := etcdwal.List(dir)
	return err == nil && !log.Empty()
}

// boltMagic is at byte 16 of a v3 backend.
const boltMagic = 0xED0CDAED

// file tells what a file is.
func (p *Place) file() (err error) {
	f, err := os.Open(p.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var head [20]byte
	n, err := io.ReadFull(f, head[:])
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	switch {
	case n == len(head) && binary.LittleEndian.Uint32(head[16:]) == boltMagic, strings.HasSuffix(p.Path, ".db"):
		return p.refuse("it holds v3 keys only")
	case n > 0 && head[0] == '{':
		p.Kind = StateFile
	case strings.HasSuffix(p.Path, ".snap"):
		p.Kind = SnapFile
	default:
		return p.refuse("this is no file of etcd that holds v2 keys")
	}
	return nil
}

// StandbyRuns tells whether the directory is that of a 0.4 machine that was removed and is a standby now.
func StandbyRuns(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, "standby_info"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	var info struct{ Running bool }
	if err := json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&info); err != nil {
		return false, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return info.Running, nil
}
