package protocol

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// The table of limits in the specification is the code's.
func TestLimitsAreTheSpecifications(t *testing.T) {
	limits := map[string]uint64{
		"MaxEventSize": MaxEventSize, "MaxTextSize": MaxTextSize, "MaxNameSize": MaxNameSize, "MaxControlRefs": MaxControlRefs,
		"MaxMessageRefs": MaxMessageRefs, "MaxFounders": MaxFounders, "MaxDevices": MaxDevices, "MaxCut": MaxCut,
		"MaxMemberControl": MaxMemberControl, "MaxParents": MaxParents, "MaxChunks": MaxChunks, "MaxChunkSize": MaxChunkSize,
		"MaxWantChunks": MaxWantChunks, "MaxWantEpochs": MaxWantEpochs, "MaxRecordSize": MaxRecordSize, "MaxRecordType": MaxRecordType, "MaxLinkAddrs": MaxLinkAddrs, "MaxFrontierSpans": MaxFrontierSpans, "MaxReportBoxes": MaxReportBoxes, "MaxReportedSize": MaxReportedSize, "MaxReasonSize": MaxReasonSize, "MaxLinkSize": MaxLinkSize, "MaxWelcomeEpochs": MaxWelcomeEpochs,
		"MaxWelcomeSecrets": MaxWelcomeSecrets, "MaxWelcomeAddrs": MaxWelcomeAddrs, "MaxFrameSize": MaxFrameSize, "MaxFrontier": MaxFrontier, "MaxPackSize": MaxPackSize, "MaxPacked": MaxPacked, "MaxGossip": MaxGossip, "MaxTold": MaxTold,
		"MaxHelloTags": MaxHelloTags, "MaxExtensions": MaxExtensions, "MaxHLC": MaxHLC, "MaxSeq": MaxSeq,
		"MaxRequestFile": MaxRequestFile, "MaxWelcomeFile": MaxWelcomeFile, "MaxQuestionSize": MaxQuestionSize, "MaxAnswerSize": MaxAnswerSize,
		"MaxBundlePoints": MaxBundlePoints, "MaxBundleBoxes": MaxBundleBoxes, "MaxBundleChunks": MaxBundleChunks,
		"MaxCrowd": MaxCrowd, "KeepCrowd": KeepCrowd, "MaxIdle": MaxIdle, "KeepIdle": KeepIdle, "MaxRevokes": MaxRevokes, "MaxSeated": MaxSeated,
		"MaxParts": MaxParts, "MaxClockSkew": uint64(MaxClockSkew.Milliseconds()),
	}
	spec, err := os.ReadFile("../docs/spec/p2pchat-1.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range regexp.MustCompile(`(?m)^\| ((?:Max|Keep)\w+) \| (\d+) \|`).FindAllStringSubmatch(string(spec), -1) {
		n, _ := strconv.ParseUint(m[2], 10, 64)
		if want, ok := limits[m[1]]; !ok || n != want {
			t.Errorf("%s is %d in the specification, %d here", m[1], n, want)
		}
		seen++
	}
	code, err := os.ReadFile("limits.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t((?:Max|Keep)\w+) += `).FindAllStringSubmatch(string(code), -1) {
		if _, ok := limits[m[1]]; !ok {
			t.Errorf("%s is not in the specification", m[1])
		}
	}
	if seen != len(limits) {
		t.Errorf("%d limits in the specification, %d here", seen, len(limits))
	}
}

// Every vector that the specification names is there, and every kind of vector is
// named in a chapter.
func TestSpecificationNamesItsVectors(t *testing.T) {
	spec, err := os.ReadFile("../docs/spec/p2pchat-1.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(vectorDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range regexp.MustCompile(`(?m)^\*Vectors: .*$`).FindAllString(string(spec), -1) {
		for _, m := range regexp.MustCompile("`([a-z0-9-]+)(\\*?)`").FindAllStringSubmatch(line, -1) {
			found := false
			for _, f := range files {
				found = found || f.Name() == m[1]+".txt" || m[2] == "*" && len(f.Name()) > len(m[1]) && f.Name()[:len(m[1])] == m[1]
			}
			if !found {
				t.Errorf("no vector %s%s", m[1], m[2])
			}
		}
	}
}
