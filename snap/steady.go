package snap

import "canopy/internal/disk"

// syncBytes is how much of a snapshot may wait to be written to disk.
const syncBytes = 1 << 20

// steadyFile is synced after each few bytes that are written to it. Else the
// system collects a whole snapshot, and writes it at once; a sync of the log, on
// the same file system, may have to wait until that is done.
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

// steady gives a file as it is to be written.
func (d *Dir) steady(f disk.File) disk.File {
	if d.o.NoSync {
		return f
	}
	return &steadyFile{File: f}
}
