package bootstrap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/internal/disk"
	"canopy/wal"
)

// A data directory belongs to a member or to a proxy, by what it contains.
const (
	memberDir = "member"
	proxyDir  = "proxy"
)

// Begun tells what a data directory belongs to (B6, B10). A directory that
// cannot be read counts as new: the error comes again when it is opened.
func Begun(c config.Config) config.Begun {
	if owners, err := owners(c.DataDir); err != nil {
		return config.Fresh
	} else if slices.Equal(owners, []string{proxyDir}) {
		return config.AsProxy
	}
	if hasLog(c) {
		return config.AsMember
	}
	if _, err := os.Stat(filepath.Join(c.MemberDir(), "identity")); err == nil {
		return config.AsMember // its log is elsewhere, or lost
	}
	return config.Fresh
}

// hasLog reports whether a member has run in the data directory: a member that
// waits for its first cluster has no log yet (D24).
func hasLog(c config.Config) bool {
	ran, err := wal.Exists(disk.OS{}, c.LogDir())
	return err == nil && ran
}

// KnowsCluster reports whether a proxy has a list of members from an earlier
// run, which counts more than flags (P5).
func KnowsCluster(c config.Config) bool {
	_, err := os.Stat(filepath.Join(c.DataDir, proxyDir, "cluster"))
	return err == nil
}

// owners lists which of "member" and "proxy" a data directory contains.
func owners(dir string) ([]string, error) {
	names, err := disk.OS{}.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into the data directory: %w", err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name != memberDir && name != proxyDir }), nil
}

// AsProxy decides whether a process becomes a proxy or a member. The data
// directory counts more than the flags (B6).
func AsProxy(c config.Config, log *logrus.Logger) (bool, error) {
	owners, err := owners(c.DataDir)
	if err != nil {
		return false, err
	}
	wanted := c.Proxy.Mode != config.ProxyOff
	switch {
	case len(owners) == 0:
		return wanted, nil
	case slices.Equal(owners, []string{proxyDir}):
		log.Info("the server is already initialized as proxy before, starting as etcd proxy...")
		if !wanted && c.Source("proxy").IsSet() {
			log.Warnf("--proxy=off is ignored: %s belongs to a proxy", c.DataDir)
		}
		return true, nil
	}
	if hasLog(c) {
		log.Info("the server is already initialized as member before, starting as etcd member...")
	}
	if wanted {
		log.Warnf("--proxy=%s is ignored: %s belongs to a member", c.Proxy.Mode, c.DataDir)
	}
	return false, nil
}

// WarnOfUnusedFlags warns of flags without effect on a proxy that has a list of
// members from an earlier run (P5).
func WarnOfUnusedFlags(c config.Config, log *logrus.Logger) {
	for _, flag := range []string{"discovery", "discovery-srv", "initial-cluster"} {
		if c.Source(flag).IsSet() {
			log.Warnf("--%s is ignored, since the proxy knows its cluster; delete %s to move it to another one", flag, filepath.Join(c.DataDir, proxyDir))
		}
	}
}

// Check finds what a start would refuse: flags of a first start, and data
// directories that cannot be used (F61).
func Check(c config.Config) error {
	begun := Begun(c)
	asProxy := begun == config.AsProxy || begun == config.Fresh && c.Proxy.Mode != config.ProxyOff
	var errs []error
	switch {
	case begun == config.AsMember:
	case asProxy:
		if !KnowsCluster(c) {
			_, err := c.FirstPeerURLs()
			errs = append(errs, err)
		}
	default:
		_, err := c.Bootstrap(net.LookupHost)
		errs = append(errs, err)
	}
	errs = append(errs, checkDir("data-dir", c.DataDir, begun == config.Fresh))
	if c.WALDir != "" && !asProxy {
		errs = append(errs, checkDir("wal-dir", c.WALDir, begun == config.Fresh))
	}
	return errors.Join(errs...)
}

// checkDir reports whether this user can write to a directory, or make it. In a
// fresh one it tries.
func checkDir(flag, dir string, fresh bool) error {
	refused := func(err error) error {
		return fmt.Errorf("--%s=%s cannot be used: %w; choose a directory that this user can write to", flag, dir, err)
	}
	above := dir
	info, err := os.Stat(above)
	for errors.Is(err, fs.ErrNotExist) && above != filepath.Dir(above) {
		above = filepath.Dir(above)
		info, err = os.Stat(above)
	}
	switch {
	case err != nil:
		return refused(err)
	case !info.IsDir():
		return refused(fmt.Errorf("%s is not a directory", above))
	case !fresh:
		const write, enter = 2, 1
		if err := syscall.Access(above, write|enter); err != nil {
			return refused(err)
		}
		return nil
	}
	made, err := os.MkdirTemp(above, ".canopy-check-")
	if err != nil {
		return refused(err)
	}
	return os.Remove(made)
}

// MakeProxyDir turns the data directory of a member that found no room in its
// cluster, and has no data, into one that a proxy can use (B6, D16).
func MakeProxyDir(c config.Config) error {
	for _, dir := range []string{c.SnapDir(), filepath.Join(c.MemberDir(), "wal"), c.MemberDir()} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make the data directory one of a proxy: %w", err)
		}
	}
	return nil
}

// LockProxyDir makes the data directory of a proxy, and locks it for this
// process (B7).
func LockProxyDir(dir string, log *logrus.Logger) (io.Closer, error) {
	fsys := disk.OS{}
	if err := fsys.MkdirAll(filepath.Join(dir, proxyDir)); err != nil {
		return nil, fmt.Errorf("make the data directory of a proxy: %w", err)
	}
	tightened, err := fsys.Secure(dir)
	if err != nil {
		return nil, fmt.Errorf("others can read %s, chmod 0700 it: %w", dir, err)
	}
	if tightened {
		log.Warnf("others could read %s; its mode is 0700 now", dir)
	}
	return fsys.Lock(filepath.Join(dir, "lock"))
}
