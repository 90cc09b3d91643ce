package snap

import "canopy/internal/disk"

// syncBytes is how many bytes of a snapshot may be in the memory of the system, and not on disk.
const syncBytes = 1 << 20

// steadyFile syncs a file after each syncBytes that are written to it. Without this the system collects a whole snapshot and
// then writes it at once, and a sync of the log, on the same file system, may have to wait for that.
type steadyFile struct {
	disk.File
	unsynced int
}

// WriteAt implements io.WriterAt.
func (f *steadyFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	if f.unsynced += n; err == nil && f.unsynced >= syncBytes {
		f.unsynced = 0
		err = f.Sync()
	}
	return n, err
}

// steady returns the file through which a snapshot is written.
func (d *Dir) steady(f disk.File) disk.File {
	if d.o.NoSync {
		return f
	}
	return &steadyFile{File: f}
}
