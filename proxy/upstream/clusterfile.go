package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"canopy/internal/disk"
)

// A record is what a proxy stores about its cluster: how to find it again, and its ID (P9, P12).
type record struct {
	PeerURLs   []string // sorted
	ClientURLs []string // sorted; none: not known
	ClusterID  uint64   // 0: not known; another server wrote the file
}

// recordText is a record in the file. Servers of the reference write and read only the first field.
type recordText struct {
	PeerURLs   []string
	ClientURLs []string `json:",omitempty"`
	ClusterID  string   `json:",omitempty"` // hexadecimal
}

// recordBytesMax bounds how much of the file is read.
const recordBytesMax = 1 << 20

// clusterFile is the file of the record.
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

// read gives the record; nil: there is none.
func (f clusterFile) read() (*record, error) {
	data, err := disk.ReadFile(f.fs, f.name, recordBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var known *record
	if err == nil {
		known, err = parseRecord(data)
	}
	if err != nil {
		return nil, &ClusterFileError{f.name, err}
	}
	return known, nil
}

func parseRecord(data []byte) (*record, error) {
	var text recordText
	if err := json.Unmarshal(data, &text); err != nil {
		return nil, err
	}
	if len(text.PeerURLs) == 0 {
		return nil, errors.New("it contains no peer")
	}
	known := &record{PeerURLs: text.PeerURLs, ClientURLs: text.ClientURLs}
	if text.ClusterID == "" {
		return known, nil
	}
	id, err := strconv.ParseUint(text.ClusterID, 16, 64)
	if err != nil {
		return nil, fmt.Errorf("its ClusterID: %w", err)
	}
	known.ClusterID = id
	return known, nil
}

// write replaces the record atomically: a crash leaves the old one or the new one.
func (f clusterFile) write(known *record) error {
	data, err := json.Marshal(recordText{known.PeerURLs, known.ClientURLs, strconv.FormatUint(known.ClusterID, 16)})
	if err != nil {
		return err
	}
	if err := f.fs.MkdirAll(f.dir); err != nil {
		return err
	}
	return disk.WriteFile(f.fs, f.name, append(data, '\n'))
}
