package process

import (
	"runtime"
	"runtime/debug"
)

// Revision is the commit that the program was built from, if the toolchain
// recorded it.
func Revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown"
}

// Announce logs which program this is, and what it may use (F30).
func (p *Process) Announce(version string) {
	p.Log.Infof("canopy Version: %s", version)
	p.Log.Infof("Git SHA: %s", Revision())
	p.Log.Infof("setting maximum number of CPUs to %d, total number of available CPUs is %d", runtime.GOMAXPROCS(0), runtime.NumCPU())
}
