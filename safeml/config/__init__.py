"""`safeml.toml` and `recipe.toml` as typed settings. An unknown key is an error that names the nearest known one.

One file a table. No framework and no array may be imported here.
"""

from safeml.config.audit import Config as Config
from safeml.config.audit import RunSettings as RunSettings
from safeml.config.audit import data_settings as data_settings
from safeml.config.audit import load_config as load_config
from safeml.config.audit import parse_config as parse_config
from safeml.config.base import Settings as Settings
from safeml.config.data import DataRoles as DataRoles
from safeml.config.data import DataSettings as DataSettings
from safeml.config.errors import suggest as suggest
from safeml.config.model import InputSettings as InputSettings
from safeml.config.model import ModelSettings as ModelSettings
from safeml.config.model import SurrogateSettings as SurrogateSettings
from safeml.config.physical import PhysicalSettings as PhysicalSettings
from safeml.config.recipe import AdversarialTrainingSettings as AdversarialTrainingSettings
from safeml.config.recipe import AugmentSettings as AugmentSettings
from safeml.config.recipe import BackboneSettings as BackboneSettings
from safeml.config.recipe import Recipe as Recipe
from safeml.config.recipe import TrainingData as TrainingData
from safeml.config.recipe import load_recipe as load_recipe
from safeml.config.stages import AdversarialSettings as AdversarialSettings
from safeml.config.stages import BalanceSettings as BalanceSettings
from safeml.config.stages import ModelFileSettings as ModelFileSettings
from safeml.config.stages import PerformanceSettings as PerformanceSettings
from safeml.config.stages import StageSettings as StageSettings
from safeml.config.stages import Threat as Threat
from safeml.config.stages import TrainingSettings as TrainingSettings
from safeml.config.toml_file import read_toml as read_toml
