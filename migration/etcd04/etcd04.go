// Package etcd04 reads data directories of etcd 0.4: the log of text and protobuf, snapshots, and the commands in them (G42–G47).
package etcd04

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"canopy/migration/etcdtree"
	"canopy/migration/report"
)

// Source is a directory that was read once.
type Source struct {
	dir        string
	state      *etcdtree.State
	start      uint64 // index of the snapshot
	term, last uint64
	report     *report.Report
}

// Open chooses a snapshot, and reads the log once.
func Open(dir string) (*Source, error) {
	s := &Source{dir: dir, report: &report.Report{Kind: "etcd 0.4 member", Source: dir, EtcdVersion: "0.4"}}
	first, err := s.scan()
	if err != nil {
		return nil, err
	}
	if first == 1 {
		// Snapshots have forgotten modifiedIndex and bytes that are not UTF-8; the whole log has the former (G26).
		s.state = etcdtree.New(etcdtree.Rules{Flat: true})
		return s, nil
	}
	return s, s.snapshot(first)
}

// Position is the last entry.
func (s *Source) Position() (term, index uint64) { return s.term, s.last }

// Cluster is unknown: 0.4 gives it no ID.
func (s *Source) Cluster() string { return "" }

// Node is unknown.
func (s *Source) Node() string { return "" }

// Close does nothing.
func (s *Source) Close() error { return nil }

// Reported is what was found.
func (s *Source) Reported() *report.Report { return s.report }

// scan reads the log, and finds its first index and where it ends.
func (s *Source) scan() (first uint64, err error) {
	err = s.read(func(e entry) error {
		switch {
		case first == 0:
			first = e.index
		case e.index != s.last+1:
			return fmt.Errorf("entry %d follows entry %d", e.index, s.last)
		case e.term < s.term:
			return fmt.Errorf("entry %d is of term %d, and the one before of term %d", e.index, e.term, s.term)
		}
		s.term, s.last = e.term, e.index
		return nil
	})
	return first, err
}

var snapshotName = regexp.MustCompile(`^([0-9]+)_([0-9]+)\.ss$`)

// snapshot loads the newest one that is good and from which the log goes on.
func (s *Source) snapshot(first uint64) error {
	type file struct {
		name        string
		term, index uint64
	}
	var files []file
	entries, err := os.ReadDir(filepath.Join(s.dir, "snapshot"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		m := snapshotName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		term, err := strconv.ParseUint(m[1], 10, 64)
		index, err2 := strconv.ParseUint(m[2], 10, 64)
		if err == nil && err2 == nil {
			files = append(files, file{e.Name(), term, index})
		}
	}
	slices.SortFunc(files, func(a, b file) int { // as numbers, the newest first
		return cmp.Or(cmp.Compare(b.term, a.term), cmp.Compare(b.index, a.index))
	})
	for _, f := range files {
		path := filepath.Join(s.dir, "snapshot", f.name)
		state, term, index, err := load(path)
		if err == nil && (term != f.term || index != f.index) {
			err = fmt.Errorf("it holds index %d of term %d, which is not what its name says", index, term)
		}
		if err == nil && first > index+1 {
			err = fmt.Errorf("the log begins at %d", first)
		}
		if err != nil {
			s.report.PassedOver = append(s.report.PassedOver, fmt.Sprintf("%s: %v", path, err))
			continue
		}
		s.state, s.start, s.report.Snapshot = state, index, path
		s.term, s.last = max(s.term, term), max(s.last, index)
		return nil
	}
	if first == 0 && len(files) == 0 {
		s.state = etcdtree.New(etcdtree.Rules{Flat: true})
		return nil
	}
	return fmt.Errorf("%s: no snapshot can be used, and the log begins at entry %d", s.dir, first)
}

// load reads a snapshot file (G43).
func load(path string) (_ *etcdtree.State, term, index uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var head [9]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return nil, 0, 0, fmt.Errorf("it is too short: %w", err)
	}
	want, err := strconv.ParseUint(string(head[:8]), 16, 32)
	if err != nil || head[8] != '\n' {
		return nil, 0, 0, errors.New("it does not begin with a checksum")
	}
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, f); err != nil {
		return nil, 0, 0, err
	}
	if uint64(sum.Sum32()) != want {
		return nil, 0, 0, errors.New("its checksum is wrong")
	}
	if _, err := f.Seek(int64(len(head)), io.SeekStart); err != nil {
		return nil, 0, 0, err
	}
	var body struct {
		LastIndex uint64 `json:"lastIndex"`
		LastTerm  uint64 `json:"lastTerm"`
		State     []byte `json:"state"`
	}
	if err := json.NewDecoder(bufio.NewReader(f)).Decode(&body); err != nil {
		return nil, 0, 0, err
	}
	state, err := etcdtree.Load(bytes.NewReader(body.State), etcdtree.Rules{Flat: true})
	return state, body.LastTerm, body.LastIndex, err
}

// Replay applies the log.
func (s *Source) Replay() (*etcdtree.State, error) {
	err := s.read(func(e entry) error {
		s.report.Entries.Read++
		if e.index <= s.start {
			return nil
		}
		ok, err := apply(s.state, e)
		if err != nil {
			return fmt.Errorf("entry %d, %s: %w", e.index, e.name, err)
		}
		s.report.Entries.Applied++
		if !ok {
			s.report.Entries.Refused++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.report.LastTerm, s.report.LastIndex, s.report.Commit = s.term, s.last, s.last
	for _, name := range s.state.List("/_etcd/machines") {
		raft, client := machine(s.state, name)
		s.report.Members = append(s.report.Members, report.Member{ID: name, Name: name, PeerURLs: []string{raft}, ClientURLs: []string{client}})
	}
	if s.state.Now() == 0 {
		info, err := os.Stat(filepath.Join(s.dir, "log"))
		if err != nil {
			return nil, err
		}
		s.state.Saw(info.ModTime().UnixNano())
	}
	return s.state, nil
}
