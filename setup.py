"""What pyproject.toml cannot say: an editable install brings the data files, too."""

from setuptools import Distribution, setup


class ProjectDistribution(Distribution):
    """setuptools asks an editable install for `has_data`, which no distribution has, and leaves the files out."""

    def has_data(self) -> bool:
        return self.has_data_files()


setup(distclass=ProjectDistribution)
