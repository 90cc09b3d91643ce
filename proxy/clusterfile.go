package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"canopy/internal/disk"
)

// A clusterNote is what a proxy stores about its cluster: how to find it again, and its ID (P9, P12).
type clusterNote struct {
	PeerURLs   []string // sorted
	ClientURLs []string // sorted; none: not known
	ClusterID  uint64   // 0: not known; another server wrote the file
}

// noteText is a note in the file. Servers of the reference write and read only the first field.
type noteText struct {
	PeerURLs   []string
	ClientURLs []string `json:",omitempty"`
	ClusterID  string   `json:",omitempty"` // hexadecimal
}

// noteBytesMax bounds how much of the file is read.
const noteBytesMax = 1 << 20

// clusterFile is the file of the note.
type clusterFile struct {
	fs   disk.FS
	dir  string
	name string
}

// ClusterFileError tells why the list of peer URLs cannot be used (P6).
type ClusterFileError struct {
	Path string
	Err  error
}

// Error names the file, the fault, and the remedy.
func (e *ClusterFileError) Error() string {
	return fmt.Sprintf("proxy: the list of peer URLs in %s cannot be read: %v; delete the file to begin from the flags again", e.Path, e.Err)
}

// Unwrap gives the reason.
func (e *ClusterFileError) Unwrap() error { return e.Err }

func newClusterFile(fsys disk.FS, dir string) clusterFile {
	return clusterFile{fsys, dir, filepath.Join(dir, "cluster")}
}

// read gives the note; nil: there is none.
func (f clusterFile) read() (*clusterNote, error) {
	data, err := disk.ReadFile(f.fs, f.name, noteBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var note *clusterNote
	if err == nil {
		note, err = parseNote(data)
	}
	if err != nil {
		return nil, &ClusterFileError{f.name, err}
	}
	return note, nil
}

func parseNote(data []byte) (*clusterNote, error) {
	var text noteText
	if err := json.Unmarshal(data, &text); err != nil {
		return nil, err
	}
	if len(text.PeerURLs) == 0 {
		return nil, errors.New("it contains no peer")
	}
	note := &clusterNote{PeerURLs: text.PeerURLs, ClientURLs: text.ClientURLs}
	if text.ClusterID == "" {
		return note, nil
	}
	id, err := strconv.ParseUint(text.ClusterID, 16, 64)
	if err != nil {
		return nil, fmt.Errorf("its ClusterID: %w", err)
	}
	note.ClusterID = id
	return note, nil
}

// write replaces the note atomically: a crash leaves the old one or the new one.
func (f clusterFile) write(note *clusterNote) error {
	data, err := json.Marshal(noteText{note.PeerURLs, note.ClientURLs, strconv.FormatUint(note.ClusterID, 16)})
	if err != nil {
		return err
	}
	if err := f.fs.MkdirAll(f.dir); err != nil {
		return err
	}
	return disk.WriteFile(f.fs, f.name, append(data, '\n'))
}
