.PHONY: check

check:
	.ci/check
