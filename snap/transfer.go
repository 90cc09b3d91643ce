package snap

import (
	"fmt"
	"io"
	"path/filepath"

	"canopy/internal/disk"
)

// importBytes is how many bytes of a body Import holds at a time.
const importBytes = 256 << 10

// Export calls write with the raw bytes of a snapshot's file and their number. It does not check them: Import does, where
// they arrive. Any number of goroutines may call it at any time. If the snapshot is purged or replaced meanwhile, write still
// gets all of it. An error of write is returned unchanged. If there is no file, the error matches fs.ErrNotExist.
func (d *Dir) Export(m Meta, write func(r io.Reader, size int64) error) error {
	f, err := d.fs.Open(d.Path(m))
	if err != nil {
		return fmt.Errorf("snap: export: %w", err)
	}
	size, err := f.Size()
	if err != nil {
		err = fmt.Errorf("snap: size of %s: %w", d.Path(m), err)
	} else {
		err = write(io.NewSectionReader(f, 0, size), size)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// Import makes a snapshot of raw bytes that Export read elsewhere, and calls read with its plain bytes, as SavePaced does. If
// it returns nil, the snapshot is on disk and all of it was read back. Otherwise the other snapshots are unchanged, and the
// new file is removed. For bytes that are damaged, too few or those of another snapshot the error is a *CorruptError or
// ErrNewerFormat; or it is the error of r. Import replaces a snapshot with the same Meta. Any number of goroutines may call
// it at any time.
func (d *Dir) Import(m Meta, r io.Reader, read func(r io.Reader) error) error {
	name := fmt.Sprintf("%016x-%016x-%x%s", m.Term, m.Index, d.imports.Add(1), importSuffix)
	temp := filepath.Join(d.dir, name)
	return d.discard("import", temp, m, d.receive(temp, m, r, read))
}

func (d *Dir) receive(temp string, m Meta, r io.Reader, read func(io.Reader) error) error {
	f, err := d.fs.Create(temp)
	if err != nil {
		return err
	}
	return d.finish(f, temp, m, read, copyTo(d.steady(f), r))
}

// copyTo writes all bytes of r to a file, from its start.
func copyTo(f disk.File, r io.Reader) error {
	buf := make([]byte, importBytes)
	var at int64
	for filled := 0; ; {
		n, err := r.Read(buf[filled:])
		filled += n
		if filled < len(buf) && err == nil {
			continue
		}
		if _, e := f.WriteAt(buf[:filled], at); e != nil {
			return e
		}
		at, filled = at+int64(filled), 0
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}
