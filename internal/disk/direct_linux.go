package disk

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// directUnit is what offsets and lengths of direct writes are multiples of. Disks with bigger sectors refuse.
	directUnit = 512
	// directMax bounds the scratch; bigger writes gain nothing.
	directMax = 512 << 10
	// directAlign is where in memory disks can read from.
	directAlign = 4096
)

// directWriter writes past the system's cache, and has the same call wait until the disk has the bytes. Nobody reads a
// log while it is written, so that there is nothing to keep; and a sync need not look for what of the file has changed.
type directWriter struct {
	file    *os.File // the same file once more; nil: not opened yet
	refused bool     // the file system cannot
	scratch []byte   // aligned
}

// write reports whether it could write this way. If not, the bytes are to be written the other way, whatever of them is
// in the file now.
func (d *directWriter) write(f *os.File, p []byte, at int64) (done bool, err error) {
	if d.refused || len(p) > directMax || len(p)%directUnit != 0 || at%directUnit != 0 {
		return false, nil
	}
	if d.file == nil {
		d.file, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY|unix.O_DIRECT|unix.O_DSYNC, 0)
	}
	if err == nil {
		_, err = d.file.WriteAt(d.aligned(p), at)
	}
	// On a full disk the cache has a reserve for noting which blocks are in use, which direct writes have not. What the
	// system lacks now it may have the next time.
	if isNoSpace(err) || err != nil && isScarce(err) {
		return false, nil
	}
	d.refused = d.file == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
	if d.refused {
		return false, nil
	}
	return err == nil, err
}

// aligned copies p to where a disk can read it.
func (d *directWriter) aligned(p []byte) []byte {
	if len(p) > len(d.scratch) {
		b := make([]byte, len(p)+len(p)/4+directAlign)
		d.scratch = b[-uintptr(unsafe.Pointer(unsafe.SliceData(b)))%directAlign:]
	}
	return d.scratch[:copy(d.scratch, p)]
}

func (d *directWriter) close() error {
	if d.file == nil {
		return nil
	}
	return d.file.Close()
}
