/* SPDX-License-Identifier: MIT */
/* Throws as often as asked: libstdc++ has a probe where an exception starts and where it is caught. */
extern "C" int throw_often(int n);

__attribute__((visibility("default"))) int throw_often(int n)
{
	int caught = 0;

	while (n--) {
		try {
			throw n;
		} catch (int) {
			caught++;
		}
	}
	return caught;
}
